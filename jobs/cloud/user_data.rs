//! What an instance of any cloud is told at its first boot, for cloud-init to read: its host
//! key, and who may log in.

use drover::model::{ExposeSecret, Secret};
use serde_json::{Value, json};

use crate::host::helper;
use crate::ssh;

/// The host key, where every sshd looks for it.
const HOST_KEY: &str = "/etc/ssh/ssh_host_ed25519_key";

/// The body is JSON, which is YAML too: nothing in it can be taken for more than the
/// string it is. It holds the private host key, and is never logged.
///
/// # Errors
/// If the host key is none.
pub(super) fn document(
    host_key: &Secret,
    authorized_key: &str,
    user: &str,
    ssh_port: u16,
) -> anyhow::Result<String> {
    let public = ssh::public_half(host_key)?;
    // The pinned key is the only one that is shown, whatever the image brings.
    let sshd = format!(
        "Port {ssh_port}\nHostKey {HOST_KEY}\nPermitRootLogin no\n\
         PasswordAuthentication no\nKbdInteractiveAuthentication no\n"
    );
    let body = json!({
        "ssh_deletekeys": true,
        "ssh_genkeytypes": [],
        "ssh_keys": {
            "ed25519_private": host_key.expose_secret(),
            "ed25519_public": public.trim(),
        },
        "ssh_pwauth": false,
        "disable_root": true,
        "users": [{
            "name": user,
            "gecos": "drover, the control plane",
            "shell": "/bin/bash",
            "lock_passwd": true,
            "ssh_authorized_keys": [authorized_key.trim()],
        }],
        "write_files": [
            file("/etc/ssh/sshd_config.d/10-drover.conf", "0644", &sshd),
            file(helper::PATH, "0755", &helper::bare()),
            // Whoever logs in has it replaced by what drover has signed, and by nothing else.
            file(helper::SIGNERS, "0644", &helper::signers(authorized_key)),
            file(helper::SUDOERS, "0440", &helper::sudoers(user)),
        ],
    });
    Ok(format!("#cloud-config\n{body:#}\n"))
}

fn file(path: &str, mode: &str, text: &str) -> Value {
    json!({ "path": path, "permissions": mode, "content": text })
}

#[cfg(test)]
mod tests {
    use drover::model::secret;
    use russh::keys::ssh_key::LineEnding;
    use russh::keys::{Algorithm, PrivateKey};

    use super::*;

    fn host_key() -> Secret {
        let key = PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).unwrap();
        secret(key.to_openssh(LineEnding::LF).unwrap().to_string())
    }

    fn read(host_key: &Secret, authorized_key: &str) -> Value {
        let text = document(host_key, authorized_key, "drover", 2222).unwrap();
        let (head, body) = text.split_once('\n').unwrap();
        assert_eq!(head, "#cloud-config");
        serde_json::from_str(body).unwrap()
    }

    #[test]
    fn the_pinned_host_key_is_the_only_one() {
        let host_key = host_key();
        let told = read(&host_key, "ssh-ed25519 AAAA drover\n");
        assert_eq!(
            told["ssh_keys"]["ed25519_private"],
            host_key.expose_secret()
        );
        let public = told["ssh_keys"]["ed25519_public"].as_str().unwrap();
        assert_eq!(public, ssh::public_half(&host_key).unwrap().trim());
        assert_eq!(told["ssh_keys"].as_object().unwrap().len(), 2);
        assert_eq!(told["ssh_deletekeys"], true);
        assert_eq!(told["ssh_genkeytypes"], json!([]));
        let sshd = told["write_files"][0]["content"].as_str().unwrap();
        assert!(sshd.contains("Port 2222\nHostKey /etc/ssh/ssh_host_ed25519_key\n"));
    }

    #[test]
    fn drover_logs_in_with_its_key_and_nobody_with_a_password() {
        let told = read(&host_key(), "ssh-ed25519 AAAA drover\n");
        let users = told["users"].as_array().unwrap();
        // Not the image's own user beside it.
        assert_eq!(users.len(), 1);
        assert_eq!(users[0]["name"], "drover");
        assert_eq!(
            users[0]["ssh_authorized_keys"],
            json!(["ssh-ed25519 AAAA drover"])
        );
        assert_eq!(users[0]["sudo"], Value::Null);
        assert_eq!(
            (&told["disable_root"], &told["ssh_pwauth"]),
            (&json!(true), &json!(false))
        );
    }

    #[test]
    fn the_login_may_use_drover_root_and_no_more() {
        let (host_key, authorized) = (host_key(), "ssh-ed25519 AAAA drover\n");
        let told = read(&host_key, authorized);
        let of = |path: &str| {
            let files = told["write_files"].as_array().unwrap().iter();
            let mut files = files.filter(|file| file["path"] == path);
            let file = files.next().unwrap();
            (file["permissions"].clone(), file["content"].clone())
        };
        assert_eq!(
            of("/usr/local/sbin/drover-root"),
            (json!("0755"), json!(helper::bare()))
        );
        let (mode, sudoers) = of(helper::SUDOERS);
        assert_eq!(mode, "0440");
        assert!(!sudoers.as_str().unwrap().contains("(ALL)"), "{sudoers}");
        let (_, signers) = of("/etc/drover/allowed_signers");
        let ours = "drover namespaces=\"drover-root\" ssh-ed25519 AAAA\n";
        assert_eq!(signers, ours);
        let all = document(&host_key, authorized, "drover", 2222).unwrap();
        assert!(
            all.len() < 15_000,
            "EC2 takes 16 KiB, and these are {}",
            all.len()
        );
    }

    #[test]
    fn nothing_in_a_key_becomes_an_instruction() {
        let odd = "ssh-ed25519 AAAA \"x\"\nruncmd: [reboot] # ' {{ }} \\";
        let told = read(&host_key(), odd);
        assert_eq!(told["users"][0]["ssh_authorized_keys"], json!([odd]));
        assert_eq!(told["runcmd"], Value::Null);
    }
}
