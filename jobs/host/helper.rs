//! `drover-root` on a server: how it gets there, and how a newer one takes its place.

use drover::model::{ExposeSecret, Secret};
use russh::keys::decode_secret_key;
use russh::keys::ssh_key::{HashAlg, LineEnding};

use super::HELPER;
use super::scripts::PUT_HELPER;
use crate::ssh;

/// Where it is installed, for root alone to change.
pub const PATH: &str = "/usr/local/sbin/drover-root";
/// Whose signature a newer one needs.
pub const SIGNERS: &str = "/etc/drover/allowed_signers";
/// What its login may do by sudo.
///
/// The last file that sudo reads: what it says is overruled by nothing that stands before it,
/// and holds on when that is taken away.
pub const SUDOERS: &str = "/etc/sudoers.d/zz-drover-root";
/// What the signatures are for.
const NAMESPACE: &str = "drover-root";

/// The version of the one that this release brings.
pub fn version() -> u32 {
    let line = HELPER
        .lines()
        .find_map(|line| line.strip_prefix("my $VERSION = "));
    let number = line.and_then(|line| line.strip_suffix(';'));
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// The line of [`SIGNERS`] for the key whose public half this is.
pub fn signers(public: &str) -> String {
    let key: Vec<&str> = public.split_ascii_whitespace().take(2).collect();
    format!("drover namespaces=\"{NAMESPACE}\" {}\n", key.join(" "))
}

/// What this login may do: use `drover-root`, and act as the owner of Debian's clusters.
pub fn sudoers(user: &str) -> String {
    format!(
        "Defaults!{PATH} !requiretty\n\
         {user} ALL=(root) NOPASSWD: {PATH}\n\
         {user} ALL=(postgres) NOPASSWD: ALL\n"
    )
}

/// The program without its comments: an instance is told no more than 16 KiB at its first
/// boot.
pub fn bare() -> String {
    let told = |line: &&str| line.starts_with("#!") || !line.trim_start().starts_with('#');
    let lines: Vec<&str> = HELPER.lines().filter(told).collect();
    lines.join("\n") + "\n"
}

/// Whether these rules can be about this login, and about nobody else. In sudoers a word in
/// capitals is a name for many.
pub fn is_login(user: &str) -> bool {
    let inside = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let first = |c: char| c.is_ascii_lowercase() || c == '_';
    user.starts_with(first) && user.chars().all(inside)
}

/// A script that installs all of it, to be run as root.
///
/// # Errors
/// If something in it cannot be quoted.
pub fn install(user: &str, public: &str) -> anyhow::Result<String> {
    let (program, signers, sudoers) = (HELPER, signers(public), sudoers(user));
    let arguments = [program, &signers, &sudoers].map(ssh::quote);
    let arguments: anyhow::Result<Vec<_>> = arguments.into_iter().collect();
    Ok(format!("set -- {}\n{PUT_HELPER}", arguments?.join(" ")))
}

/// What `drover-root replace` reads: this text, behind its signature by the deployment's key.
///
/// # Errors
/// If the key cannot be read or cannot sign; the error does not hold it.
pub fn signed(key: &Secret, text: &str) -> anyhow::Result<String> {
    let key = decode_secret_key(key.expose_secret(), None)
        .map_err(|_| anyhow::anyhow!("the SSH key is no OpenSSH private key"))?;
    let signature = key.sign(NAMESPACE, HashAlg::Sha512, text.as_bytes())?;
    Ok(format!(
        "{}\n{text}",
        signature.to_pem(LineEnding::LF)?.trim_end()
    ))
}
