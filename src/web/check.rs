//! What the fields of a request may hold. Each check takes the field's name and
//! its text, and says in its error what the field must be, never what it was.

use std::net::IpAddr;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use ssh_key::{Algorithm, PrivateKey, PublicKey};

use super::error::{ApiError, Result};
use crate::model::is_no_servers;

/// A name of drover's own: of a subject, a tier, a plan.
pub fn name(field: &str, text: &str) -> Result<String> {
    let inside = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-_".contains(&b);
    let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    let fits = bytes.len() <= 63
        && bytes.iter().all(|b| inside(*b))
        && edge(bytes.first())
        && edge(bytes.last());
    if fits {
        return Ok(text.to_owned());
    }
    Err(ApiError::invalid(
        field,
        format!(
            "{field} must be 1 to 63 lower-case letters, digits, `.`, `-` and `_`, \
             with a letter or digit at both ends"
        ),
    ))
}

/// The same check of a field that may be absent.
///
/// # Errors
/// If it is there and does not hold what it must.
pub fn optional(
    check: impl FnOnce(&str, &str) -> Result<String>,
    field: &str,
    text: Option<&str>,
) -> Result<Option<String>> {
    text.map(|text| check(field, text)).transpose()
}

/// Whether a person who reads it sees something else than what is there: a control character, or
/// one that turns the direction in which others are read.
pub fn is_odd(character: char) -> bool {
    let turns = matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    character.is_control() || turns
}

/// One line of text without control characters, such as a database's name.
pub fn line(field: &str, text: &str, most: usize) -> Result<String> {
    let length = text.chars().count();
    if (1..=most).contains(&length) && !text.chars().any(is_odd) {
        return Ok(text.to_owned());
    }
    let message =
        format!("{field} must be 1 to {most} characters, none of them control characters");
    Err(ApiError::invalid(field, message))
}

/// Why somebody does something: a line that says something, without the blanks
/// around it.
pub fn reason(field: &str, text: &str) -> Result<String> {
    let text = text.trim();
    if text.is_empty() {
        let message = format!("{field} must say something: people read it later");
        return Err(ApiError::invalid(field, message));
    }
    line(field, text, 500)
}

/// A password: anything that PostgreSQL could take.
pub fn password(field: &str, text: &str) -> Result<String> {
    if (1..=1000).contains(&text.len()) && !text.contains('\0') {
        return Ok(text.to_owned());
    }
    let message = format!("{field} must be 1 to 1000 bytes, none of them NUL");
    Err(ApiError::invalid(field, message))
}

/// An IP address or a host name, in the one form that duplicates are found by. Where a name leads
/// is looked at by whoever connects.
pub fn address(field: &str, text: &str) -> Result<String> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return match is_no_servers(ip) {
            None => Ok(ip.to_string()),
            Some(what) => {
                let message = format!("{field} must be a server's: this is {what}");
                Err(ApiError::invalid(field, message))
            }
        };
    }
    let host = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let label = |label: &str| {
        let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
        let bytes = label.as_bytes();
        bytes.len() <= 63
            && bytes
                .iter()
                .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(b))
            && edge(bytes.first())
            && edge(bytes.last())
    };
    // A last label of digits alone would be an address that is none (10.0.0.300).
    let numeric = host
        .rsplit('.')
        .next()
        .is_some_and(|l| l.bytes().all(|b| b.is_ascii_digit()));
    if host.len() <= 253 && host.split('.').all(label) && !numeric {
        return Ok(host);
    }
    let message = format!("{field} must be an IP address or a host name, without a port");
    Err(ApiError::invalid(field, message))
}

/// A login on the server.
pub fn login(field: &str, text: &str) -> Result<String> {
    let inside = |b: u8| b.is_ascii_alphanumeric() || b"._-@$".contains(&b);
    if (1..=64).contains(&text.len()) && text.bytes().all(inside) && !text.starts_with('-') {
        return Ok(text.to_owned());
    }
    let message = format!("{field} must be a login name of 1 to 64 letters, digits and `._-@$`");
    Err(ApiError::invalid(field, message))
}

/// A private key that an unattended worker can use.
pub fn private_key(field: &str, text: &str) -> Result<String> {
    let refuse = |message: &str| Err(ApiError::invalid(field, format!("{field} {message}")));
    let text = text.trim();
    if PublicKey::from_openssh(text).is_ok() {
        return refuse("is a public key; the private one is needed");
    }
    if text.starts_with("-----BEGIN") && !text.starts_with("-----BEGIN OPENSSH PRIVATE KEY-----") {
        return refuse(
            "must be in OpenSSH's format (BEGIN OPENSSH PRIVATE KEY); convert a copy of the file \
             with: ssh-keygen -p -N '' -f FILE",
        );
    }
    match PrivateKey::from_openssh(text) {
        Ok(key) if key.is_encrypted() => refuse(
            "is protected by a passphrase, and no worker could type it; \
             take it off a copy of the file with: ssh-keygen -p -N '' -f FILE",
        ),
        Ok(key) if usable(&key.algorithm()) => Ok(format!("{text}\n")),
        Ok(_) => refuse("must be an Ed25519, ECDSA or RSA key"),
        Err(_) => refuse("is not a private key in OpenSSH's format"),
    }
}

/// A host key as in known_hosts, without the host names and the comment.
pub fn host_key(field: &str, text: &str) -> Result<String> {
    let key = PublicKey::from_openssh(text.trim())
        .ok()
        .filter(|key| usable(&key.algorithm()));
    let normal = key.and_then(|mut key| {
        key.set_comment("");
        key.to_openssh().ok()
    });
    normal.ok_or_else(|| {
        let message = format!(
            "{field} is not a host key such as `ssh-ed25519 AAAA…`; \
             take it from the server's /etc/ssh/ssh_host_*_key.pub"
        );
        ApiError::invalid(field, message)
    })
}

/// What people compare host keys by: `SHA256:…`; `None` if it is no key.
pub fn fingerprint(host_key: &str) -> Option<String> {
    let key = PublicKey::from_openssh(host_key).ok()?;
    Some(key.fingerprint(ssh_key::HashAlg::Sha256).to_string())
}

fn usable(algorithm: &Algorithm) -> bool {
    matches!(
        algorithm,
        Algorithm::Ed25519 | Algorithm::Ecdsa { .. } | Algorithm::Rsa { .. }
    )
}

/// PEM of one or more certificate authorities.
pub fn certificates(field: &str, text: &str) -> Result<String> {
    let mut roots = rustls::RootCertStore::empty();
    let read = CertificateDer::pem_slice_iter(text.as_bytes())
        .all(|found| found.is_ok_and(|certificate| roots.add(certificate).is_ok()));
    if read && !roots.is_empty() {
        return Ok(text.to_owned());
    }
    let message = format!("{field} must be PEM certificates (BEGIN CERTIFICATE) of authorities");
    Err(ApiError::invalid(field, message))
}
