//! What a cause of failure says of its subject: one value for each,
//! [`Cause::profile`].

use super::Cause;

/// What a cause of failure says of its subject.
#[derive(Clone, Copy, Debug)]
pub struct CauseProfile {
    /// It proves that something alive answered, or at least proves nothing about the
    /// subject: that is not the same as down, and has its own patience.
    pub answered: bool,
    /// Whoever fails for it serves nobody, rather than not drover.
    pub serves_nobody: bool,
    /// It is no silence: the subject has answered, or was not asked.
    pub not_silent: bool,
    /// It is the database's own word that keeps drover out: no restart mends that.
    pub its_own_word: bool,
}

impl Cause {
    /// What it says of its subject.
    pub const fn profile(self) -> CauseProfile {
        const NOTHING: CauseProfile = CauseProfile {
            answered: false,
            serves_nobody: false,
            not_silent: false,
            its_own_word: false,
        };
        match self {
            Self::Refused
            | Self::Timeout
            | Self::NoRoute
            | Self::Disconnected
            | Self::ShuttingDown => CauseProfile {
                serves_nobody: true,
                ..NOTHING
            },
            Self::StartingUp | Self::Recovery => CauseProfile {
                answered: true,
                serves_nobody: true,
                ..NOTHING
            },
            Self::Corrupt => CauseProfile {
                serves_nobody: true,
                its_own_word: true,
                ..NOTHING
            },
            Self::Authentication | Self::DatabaseGone | Self::Error => CauseProfile {
                answered: true,
                not_silent: true,
                its_own_word: true,
                ..NOTHING
            },
            Self::TooManyConnections | Self::ReadOnly => CauseProfile {
                answered: true,
                its_own_word: true,
                ..NOTHING
            },
            // Ours may be stopped, or elsewhere.
            Self::AnotherCluster => CauseProfile {
                answered: true,
                serves_nobody: true,
                not_silent: true,
                its_own_word: true,
            },
            Self::DiskFull => CauseProfile {
                its_own_word: true,
                ..NOTHING
            },
            Self::Protocol
            | Self::HostKeyChanged
            | Self::HostKeyUnknown
            | Self::Creating
            | Self::Destroying => CauseProfile {
                not_silent: true,
                ..NOTHING
            },
            Self::Tls => NOTHING,
        }
    }
}
