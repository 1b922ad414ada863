//! What an instance is told at its first boot: its host key, and who may log in.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use drover::model::ExposeSecret;
use serde_json::json;

use crate::cloud::NewInstance;
use crate::ssh;

/// The host key, where every sshd looks for it.
const HOST_KEY: &str = "/etc/ssh/ssh_host_ed25519_key";

/// cloud-init's document in base 64, as EC2 takes it. It holds the private host
/// key, and is never logged.
///
/// # Errors
/// If the host key is none.
pub(super) fn encoded(new: &NewInstance, user: &str, ssh_port: u16) -> anyhow::Result<String> {
    Ok(STANDARD.encode(document(new, user, ssh_port)?))
}

/// The body is JSON, which is YAML too: nothing in it can be taken for more than the
/// string it is.
fn document(new: &NewInstance, user: &str, ssh_port: u16) -> anyhow::Result<String> {
    let public = ssh::public_half(&new.host_key)?;
    // The pinned key is the only one that is shown, whatever the image brings.
    let sshd = format!(
        "Port {ssh_port}\nHostKey {HOST_KEY}\nPermitRootLogin no\n\
         PasswordAuthentication no\nKbdInteractiveAuthentication no\n"
    );
    let body = json!({
        "ssh_deletekeys": true,
        "ssh_genkeytypes": [],
        "ssh_keys": {
            "ed25519_private": new.host_key.expose_secret(),
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
            "ssh_authorized_keys": [new.authorized_key.trim()],
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
    use drover::model::{Secret, SubjectId, secret};
    use russh::keys::ssh_key::LineEnding;
    use russh::keys::{Algorithm, PrivateKey};
    use serde_json::Value;

    use super::*;

    fn host_key() -> Secret {
        let key = PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).unwrap();
        secret(key.to_openssh(LineEnding::LF).unwrap().to_string())
    }

    fn new(authorized_key: &str) -> NewInstance {
        NewInstance {
            id: SubjectId::generate(),
            name: "pg\n1: \"x\"".into(),
            zone: "us-east-1a".into(),
            size: "m6i.large".into(),
            volume_gib: 100,
            volume_type: "gp3".into(),
            host_key: host_key(),
            authorized_key: authorized_key.into(),
        }
    }

    fn read(new: &NewInstance) -> Value {
        let bytes = STANDARD
            .decode(encoded(new, "drover", 2222).unwrap())
            .unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once('\n').unwrap();
        assert_eq!(head, "#cloud-config");
        serde_json::from_str(body).unwrap()
    }

    #[test]
    fn the_pinned_host_key_is_the_only_one() {
        let new = new("ssh-ed25519 AAAA drover\n");
        let told = read(&new);
        assert_eq!(
            told["ssh_keys"]["ed25519_private"],
            new.host_key.expose_secret()
        );
        let public = told["ssh_keys"]["ed25519_public"].as_str().unwrap();
        assert_eq!(public, ssh::public_half(&new.host_key).unwrap().trim());
        assert_eq!(told["ssh_keys"].as_object().unwrap().len(), 2);
        assert_eq!(told["ssh_deletekeys"], true);
        assert_eq!(told["ssh_genkeytypes"], json!([]));
        let sshd = told["write_files"][0]["content"].as_str().unwrap();
        assert!(sshd.contains("Port 2222\nHostKey /etc/ssh/ssh_host_ed25519_key\n"));
    }

    #[test]
    fn drover_logs_in_with_its_key_and_nobody_with_a_password() {
        let told = read(&new("ssh-ed25519 AAAA drover\n"));
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
        let told = read(&new(odd));
        assert_eq!(told["users"][0]["ssh_authorized_keys"], json!([odd]));
        assert_eq!(told["runcmd"], Value::Null);
    }
}
