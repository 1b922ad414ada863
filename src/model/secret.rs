//! Secrets: held so that they cannot be printed, and sealed at rest.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{Key, KeyInit, XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac};
pub use secrecy::ExposeSecret;
use secrecy::{SecretBox, SecretString};
use sha2::Sha256;

/// A text that neither `Debug` nor `Serialize` ever shows.
pub type Secret = SecretString;

/// Wraps a text.
pub fn secret(text: impl Into<String>) -> Secret {
    Secret::from(text.into())
}

const VERSION: u8 = 1;
const NONCE: usize = 24;

/// The deployment's key that secrets are sealed with: `DROVER_SECRET_KEY`,
/// 32 bytes in base 64.
#[derive(Clone)]
pub struct SecretKey(std::sync::Arc<SecretBox<[u8; 32]>>);

/// Why a secret could not be sealed or opened. Says nothing of its content.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The key is not 32 bytes of base 64.
    #[error(
        "DROVER_SECRET_KEY must be 32 bytes in base 64; make one with: openssl rand -base64 32"
    )]
    Key,
    /// The stored bytes are not what this key sealed for this subject.
    #[error("a stored secret cannot be opened: was DROVER_SECRET_KEY changed?")]
    Open,
    /// It could not be sealed.
    #[error("the secret is too large to be sealed")]
    Seal,
}

impl SecretKey {
    /// Reads the key from its base 64 form.
    ///
    /// # Errors
    /// [`SealError::Key`] if it is not 32 bytes.
    pub fn from_base64(text: &str) -> Result<Self, SealError> {
        let bytes = STANDARD.decode(text.trim()).map_err(|_| SealError::Key)?;
        let bytes: [u8; 32] = bytes.try_into().map_err(|_| SealError::Key)?;
        Ok(Self(std::sync::Arc::new(SecretBox::new(Box::new(bytes)))))
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&Key::from(*self.0.expose_secret()))
    }

    /// Seals a secret. `bound_to` names what it belongs to (`<id>/password`); it
    /// opens only with the same name, so rows cannot be swapped.
    ///
    /// # Errors
    /// [`SealError::Seal`] if the cipher refuses, which it does only for texts of
    /// many gigabytes.
    pub fn seal(&self, plain: &Secret, bound_to: &str) -> Result<Vec<u8>, SealError> {
        let nonce: [u8; NONCE] = rand::random();
        let payload = Payload {
            msg: plain.expose_secret().as_bytes(),
            aad: bound_to.as_bytes(),
        };
        let sealed = self
            .cipher()
            .encrypt(&XNonce::from(nonce), payload)
            .map_err(|_| SealError::Seal)?;
        let mut out = Vec::with_capacity(1 + NONCE + sealed.len());
        out.push(VERSION);
        out.extend_from_slice(&nonce);
        out.extend_from_slice(&sealed);
        Ok(out)
    }

    /// A digest that nobody can compute or guess at without this key; `what_for`
    /// tells digests for one purpose from those for another.
    pub fn digest(&self, data: &[u8], what_for: &str) -> Vec<u8> {
        let mut block = [0; 64];
        block[..32].copy_from_slice(self.0.expose_secret());
        let mut mac = Hmac::<Sha256>::new(&block.into());
        mac.update(what_for.as_bytes());
        mac.update(b"\0");
        mac.update(data);
        mac.finalize().into_bytes().to_vec()
    }

    /// Opens what [`SecretKey::seal`] made for the same `bound_to`.
    ///
    /// # Errors
    /// [`SealError::Open`] for any other key, name or bytes.
    pub fn open(&self, sealed: &[u8], bound_to: &str) -> Result<Secret, SealError> {
        if sealed.len() < 1 + NONCE || sealed[0] != VERSION {
            return Err(SealError::Open);
        }
        let nonce: [u8; NONCE] = sealed[1..=NONCE].try_into().map_err(|_| SealError::Open)?;
        let payload = Payload {
            msg: &sealed[1 + NONCE..],
            aad: bound_to.as_bytes(),
        };
        let plain = self
            .cipher()
            .decrypt(&XNonce::from(nonce), payload)
            .map_err(|_| SealError::Open)?;
        String::from_utf8(plain)
            .map(secret)
            .map_err(|_| SealError::Open)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> SecretKey {
        SecretKey::from_base64(&STANDARD.encode([byte; 32])).unwrap()
    }

    #[test]
    fn opens_only_with_its_key_and_for_its_subject() {
        let sealed = key(1).seal(&secret("hunter2"), "a/password").unwrap();
        assert_eq!(
            key(1).open(&sealed, "a/password").unwrap().expose_secret(),
            "hunter2"
        );
        assert!(key(2).open(&sealed, "a/password").is_err());
        assert!(key(1).open(&sealed, "b/password").is_err());
        assert!(key(1).open(&sealed[..20], "a/password").is_err());
        assert!(!sealed.windows(7).any(|w| w == b"hunter2"));
        assert_ne!(
            sealed,
            key(1).seal(&secret("hunter2"), "a/password").unwrap()
        );
    }

    #[test]
    fn a_secret_cannot_be_printed() {
        assert!(!format!("{:?}", secret("hunter2")).contains("hunter2"));
    }

    #[test]
    fn a_key_of_another_length_is_refused() {
        assert!(SecretKey::from_base64("c2hvcnQ=").is_err());
        assert!(SecretKey::from_base64("not base 64").is_err());
    }
}
