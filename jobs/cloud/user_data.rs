//! What an instance of any cloud is told at its first boot, for cloud-init to read: its host
//! key, and who may log in.

use drover::model::{ExposeSecret, Secret};
use serde_json::json;

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
            "sudo": "ALL=(ALL) NOPASSWD:ALL",
            "ssh_authorized_keys": [authorized_key.trim()],
        }],
        "write_files": [{
            "path": "/etc/ssh/sshd_config.d/10-drover.conf",
            "permissions": "0644",
            "content": sshd,
        }],
    });
    Ok(format!("#cloud-config\n{body:#}\n"))
}

#[cfg(test)]
mod tests {
    use drover::model::secret;
    use russh::keys::ssh_key::LineEnding;
    use russh::keys::{Algorithm, PrivateKey};
    use serde_json::Value;

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
        assert_eq!(users[0]["sudo"], "ALL=(ALL) NOPASSWD:ALL");
        assert_eq!(
            (&told["disable_root"], &told["ssh_pwauth"]),
            (&json!(true), &json!(false))
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
