//! Who logs in to a machine, and what sudo lets them do there.

use drover_jobs::host::helper;

/// Who logs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Login {
    Root,
    /// Somebody who may become anybody.
    Sudo,
    /// Somebody who may use drover-root, and become the owner of clusters.
    Helper,
    /// Whom the clusters belong to: `postgres`.
    Owner,
    /// Somebody who may become anybody, of whom sudo wants a password.
    Asked,
    /// Somebody who may do nothing.
    Stranger,
    /// As the helper's, with a login shell of this name.
    With(&'static str),
}

impl Login {
    pub const ALL: [Self; 6] = [
        Self::Root,
        Self::Sudo,
        Self::Helper,
        Self::Owner,
        Self::Asked,
        Self::Stranger,
    ];
    /// Who may change a server.
    pub const MIGHTY: [Self; 3] = [Self::Root, Self::Sudo, Self::Helper];
    /// Shells of which two read a command in ways of their own.
    pub const WITH_SHELLS: [Self; 4] = [
        Self::With("dash"),
        Self::With("bash"),
        Self::With("fish"),
        Self::With("tcsh"),
    ];

    pub fn user(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Sudo => "sudoer",
            Self::Helper => "helped",
            Self::Owner => "postgres",
            Self::Asked => "asked",
            Self::Stranger => "stranger",
            Self::With(shell) => shell,
        }
    }

    /// Who may change a server, or one of those who differ from them by their shell alone.
    pub fn is_mighty(self) -> bool {
        matches!(self, Self::With(_)) || Self::MIGHTY.contains(&self)
    }
}

/// A script for root that lays them out, whose key this is.
pub fn lay_out(public: &str) -> String {
    let with: Vec<&str> = Login::WITH_SHELLS
        .iter()
        .map(|login| login.user())
        .collect();
    let sudoers: String = with.iter().map(|user| helper::sudoers(user)).collect();
    let with = with.join(" ");
    format!(
        "set -e
         for u in sudoer helped asked stranger; do useradd -m -s /bin/bash $u; done
         for u in {with}; do
           ! s=$(command -v $u) || useradd -m -s $s $u
         done
         # Who may do all brings drover-root along.
         echo 'sudoer ALL=(ALL) NOPASSWD:ALL, !/usr/local/sbin/drover-root' >/etc/sudoers.d/sudoer
         echo 'asked ALL=(ALL) ALL' >/etc/sudoers.d/asked
         echo asked:secret | chpasswd
         cat >/etc/sudoers.d/with <<'END'\n{sudoers}END
         chmod 440 /etc/sudoers.d/*
         for u in root sudoer helped asked stranger postgres {with}; do
           h=$(getent passwd $u | cut -d: -f6)
           [ -n \"$h\" ] || continue
           install -d -m 700 -o $u -g $u $h/.ssh
           echo '{public}' >$h/.ssh/authorized_keys
           chown $u: $h/.ssh/authorized_keys
         done
         umask 077
         echo 'what only root may know' >/etc/secret"
    )
}
