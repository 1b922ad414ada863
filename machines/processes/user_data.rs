//! What a machine is told at its first boot, as far as one that is processes does it.

use serde_json::{Map, Value};

use crate::protocol::Problem;

/// What drover's user data say.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Told {
    pub host_key: Option<String>,
    pub authorized_keys: Vec<String>,
    pub ssh_port: Option<u16>,
    /// What is said and not done, a line each
    pub passed_over: Vec<String>,
}

/// Reads a `#cloud-config` whose body is JSON; `login` is who may log in here.
///
/// # Errors
/// If it is something else, or names another user.
pub fn read(text: &str, login: &str) -> Result<Told, Problem> {
    let invalid = |what: String| Problem::invalid(format!("user data: {what}"));
    let (first, body) = text.split_once('\n').unwrap_or((text, ""));
    if first.trim_end() != "#cloud-config" {
        return Err(invalid(format!(
            "they begin with {first:?}, not #cloud-config"
        )));
    }
    let body: Map<String, Value> = serde_json::from_str(body).map_err(|error| {
        invalid(format!(
            "machines that are processes read JSON only: {error}"
        ))
    })?;
    let mut told = Told::default();
    for (key, value) in &body {
        match key.as_str() {
            "users" => users(value, login, &mut told).map_err(invalid)?,
            "ssh_keys" => told.host_key = value["ed25519_private"].as_str().map(str::to_owned),
            "write_files" => files(value, &mut told).map_err(invalid)?,
            // So it is here in any case.
            "ssh_deletekeys" | "ssh_genkeytypes" | "ssh_pwauth" | "disable_root" => {}
            other => told.passed_over.push(format!("{other}: not done here")),
        }
    }
    Ok(told)
}

fn users(users: &Value, login: &str, told: &mut Told) -> Result<(), String> {
    for user in users.as_array().into_iter().flatten() {
        let name = user["name"].as_str().unwrap_or_default();
        if name != login {
            return Err(format!(
                "nobody but {login} can log in here, and not {name:?}"
            ));
        }
        let keys = user["ssh_authorized_keys"].as_array().into_iter().flatten();
        let keys = keys.filter_map(Value::as_str);
        told.authorized_keys
            .extend(keys.map(|key| key.trim().to_owned()));
    }
    Ok(())
}

fn files(files: &Value, told: &mut Told) -> Result<(), String> {
    for file in files.as_array().into_iter().flatten() {
        let path = file["path"].as_str().unwrap_or_default();
        if !path.starts_with("/etc/ssh/sshd_config") {
            let line = format!("{path}: not written, for this machine's files are the host's");
            told.passed_over.push(line);
            continue;
        }
        let content = file["content"].as_str().unwrap_or_default();
        for port in content
            .lines()
            .filter_map(|line| line.trim().strip_prefix("Port "))
        {
            let port = port.trim();
            match port.parse() {
                Ok(number @ 1024..) => told.ssh_port = Some(number),
                _ => {
                    return Err(format!(
                        "sshd cannot listen at port {port} here: 1024 to 65535"
                    ));
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(body: &str) -> Result<Told, Problem> {
        read(&format!("#cloud-config\n{body}\n"), "drover")
    }

    #[test]
    fn what_can_be_done_is_done_and_the_rest_is_said() {
        let told = told(
            r#"{"users":[{"name":"drover","ssh_authorized_keys":["ssh-ed25519 A\n"]}],
            "ssh_keys":{"ed25519_private":"K"},"disable_root":true,"runcmd":["x"],
            "write_files":[{"path":"/etc/ssh/sshd_config.d/1.conf","content":"X y\nPort 2223\n"},
            {"path":"/etc/motd","content":"Port 1"}]}"#,
        );
        let expected = Told {
            host_key: Some("K".into()),
            authorized_keys: vec!["ssh-ed25519 A".into()],
            ssh_port: Some(2223),
            passed_over: vec![
                "runcmd: not done here".into(),
                "/etc/motd: not written, for this machine's files are the host's".into(),
            ],
        };
        assert_eq!(told.unwrap(), expected);
    }

    #[test]
    fn what_could_not_be_meant_is_refused() {
        for bad in [
            "users: [x]",
            r#"{"users":[{"name":"root"}]}"#,
            r#"{"write_files":[{"path":"/etc/ssh/sshd_config","content":"Port 22"}]}"#,
        ] {
            assert!(told(bad).is_err(), "{bad}");
        }
        assert!(read("#!/bin/sh\n", "drover").is_err());
        assert_eq!(told("{}").unwrap(), Told::default());
    }
}
