//! Host keys: the pinned one, and the one a server shows.

use std::borrow::Cow;

use drover::model::Cause;
use russh::Preferred;
use russh::keys::{Algorithm, HashAlg, PublicKey, PublicKeyOrCertificate};

use super::SshError;

/// The key a server showed, and proved to hold.
#[derive(Debug)]
pub(super) struct Seen {
    /// `ssh-ed25519 AAAA…`, without a comment.
    text: String,
    /// `SHA256:…`, as `ssh-keygen -l` shows it.
    fingerprint: String,
}

impl Seen {
    pub(super) fn of(key: &PublicKeyOrCertificate) -> Result<Self, russh::Error> {
        let bare = PublicKey::new(key.public_key().key_data().clone(), "");
        let text = bare.to_openssh()?.trim_end().to_owned();
        Ok(Self {
            text,
            fingerprint: bare.fingerprint(HashAlg::Sha256).to_string(),
        })
    }

    /// Whether it is this pinned key: same type, same key.
    pub(super) fn is(&self, pinned: &str) -> bool {
        let mut pinned = pinned.split_ascii_whitespace();
        let mut own = self.text.split_ascii_whitespace();
        (pinned.next(), pinned.next()) == (own.next(), own.next())
    }
}

/// Why the key that was seen is not let in.
pub(super) fn refusal(at: &str, pinned: Option<&str>, seen: Option<&Seen>) -> SshError {
    let (cause, message) = match (pinned, seen) {
        (None, _) => (
            Cause::HostKeyUnknown,
            format!("no host key is pinned for {at} yet"),
        ),
        (Some(_), Some(seen)) => (
            Cause::HostKeyChanged,
            format!(
                "{at} shows another host key than the pinned one: {}; if the server was really \
                 rebuilt, adopt it again with its new key",
                seen.fingerprint
            ),
        ),
        (Some(_), None) => (Cause::Protocol, format!("{at} showed no host key")),
    };
    SshError {
        cause,
        message,
        seen_host_key: seen.map(|s| s.text.clone()),
    }
}

/// The algorithms to offer. A server has several host keys and shows the one
/// whose algorithm we name first, so the pinned key's goes to the front.
pub(super) fn preferred(pinned: Option<&str>) -> Preferred {
    let mut preferred = Preferred::default();
    let kind = pinned.and_then(|p| p.split_ascii_whitespace().next());
    if let Some(Ok(kind)) = kind.map(Algorithm::new) {
        let rsa = |a: &Algorithm| matches!(a, Algorithm::Rsa { .. });
        let same = |a: &Algorithm| *a == kind || (rsa(a) && rsa(&kind));
        let (first, rest): (Vec<_>, Vec<_>) = preferred.key.iter().cloned().partition(same);
        preferred.key = Cow::Owned(first.into_iter().chain(rest).collect());
    }
    preferred
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(text: &str) -> Seen {
        Seen {
            text: text.into(),
            fingerprint: "SHA256:x".into(),
        }
    }

    #[test]
    fn a_pinned_key_matches_by_type_and_key_alone() {
        assert!(seen("ssh-ed25519 AAAA").is("ssh-ed25519 AAAA root@pg-1\n"));
        assert!(!seen("ssh-ed25519 AAAA").is("ssh-ed25519 AAAB"));
        assert!(!seen("ssh-ed25519 AAAA").is("ssh-rsa AAAA"));
        assert!(!seen("ssh-ed25519 AAAA").is(""));
        assert!(!seen("ssh-ed25519 AAAA").is("ssh-ed25519"));
    }

    #[test]
    fn the_pinned_keys_algorithm_is_offered_first() {
        let first = |pinned| preferred(pinned).key.first().map(ToString::to_string);
        assert_eq!(first(None), Some("ssh-ed25519".into()));
        assert_eq!(first(Some("ssh-rsa AAAA")), Some("rsa-sha2-512".into()));
        assert_eq!(
            first(Some("ecdsa-sha2-nistp256 AAAA")),
            Some("ecdsa-sha2-nistp256".into())
        );
        assert_eq!(first(Some("no-such-key AAAA")), Some("ssh-ed25519".into()));
        let all = preferred(Some("ssh-rsa AAAA")).key.len();
        assert_eq!(all, Preferred::default().key.len());
    }
}
