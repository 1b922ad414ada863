//! The `drover` command as a person uses it.

use std::process::{Output, Stdio};
use std::time::Duration;

use drover::model::{Attributes, Cause};
use drover_tests::Says;
use drover_tests::postgres::{free_port, shared_empty_database};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::world::{Deployment, TOKEN, key_pair, well};

const SECRET_KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/// The command, in an environment of these settings alone.
fn drover(arguments: &[&str], settings: &[(&str, &str)]) -> Command {
    let mut command = Command::new(drover_tests::program("drover").unwrap());
    command
        .args(arguments)
        .env_clear()
        .envs(settings.iter().copied());
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}

pub async fn run(arguments: &[impl AsRef<str>], settings: &[(&str, &str)]) -> Output {
    let arguments: Vec<&str> = arguments.iter().map(AsRef::as_ref).collect();
    drover(&arguments, settings).output().await.unwrap()
}

/// The words of a line as a shell takes them; a quoted blank parts none.
pub fn words(line: &str) -> Vec<String> {
    let mut quoted = false;
    let parts = |c: char| {
        quoted ^= c == '\'';
        c == ' ' && !quoted
    };
    let words = line.trim().split(parts);
    words.map(|word| word.replace('\'', "")).collect()
}

/// Has the command fail with each line of a table in one plain line:
/// `ARGUMENTS | EXIT STATUS | what it says`.
pub async fn all_fail(settings: &[(&str, &str)], table: &str) {
    for line in table.trim().lines() {
        let [arguments, code, says] = line.split(" | ").collect::<Vec<_>>()[..] else {
            panic!("not three parts: {line}");
        };
        let output = run(&words(arguments), settings).await;
        let told = failed(&output, code.trim().parse().unwrap());
        assert!(told.contains(says), "{line}: {told}");
    }
}

/// Asserts that it failed with one plain line, and returns that.
pub fn failed(output: &Output, code: i32) -> String {
    let told = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    assert!(
        told.starts_with("drover: ") && told.lines().count() == 1,
        "{told}"
    );
    told.never_says(["swordfish", "backtrace"]);
    told
}

/// A person's shell: the commands that ask this deployment.
pub struct Shell<'a>(pub &'a Deployment);

impl Shell<'_> {
    pub async fn output(&self, arguments: &[impl AsRef<str>]) -> Output {
        let settings = [
            ("DROVER_URL", self.0.url.as_str()),
            ("DROVER_API_TOKEN", TOKEN),
            ("DROVER_RESOURCE_PASSWORD", "swordfish"),
        ];
        run(arguments, &settings).await
    }

    pub async fn text(&self, arguments: &[impl AsRef<str>]) -> String {
        let output = self.output(arguments).await;
        assert!(output.status.success(), "{output:?}");
        assert!(output.stderr.is_empty(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub async fn json(&self, arguments: &[impl AsRef<str>]) -> Value {
        let mut arguments: Vec<&str> = arguments.iter().map(AsRef::as_ref).collect();
        arguments.push("--json");
        serde_json::from_str(&self.text(&arguments).await).unwrap()
    }
}

/// What differs from run to run in what is told: ids, times, and how wide a column is,
/// which depends on how long this took. Others come before.
pub fn filters(others: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    let usual = [
        (r"\b(srv|db|op|obs|tra|inc|msg)_[0-9A-Z]{26}", "${1}_ID"),
        (r"\d+s ago", "Ns ago"),
        (r" {2,}", "  "),
        (r"\d{4}-\d\d-\d\dT[0-9:.]+Z", "TIME"),
        (r"oldest observation  \d+\.\d s", "oldest observation  N s"),
    ];
    [others, &usual].concat()
}

/// What is typed at a terminal, and what is told there.
pub struct Terminal<'a> {
    shell: Shell<'a>,
    /// All of it.
    pub told: String,
    /// What stands behind `ID` in what is typed.
    pub id: String,
}

impl<'a> Terminal<'a> {
    pub fn of(drover: &'a Deployment) -> Self {
        let (shell, told, id) = (Shell(drover), String::new(), String::new());
        Self { shell, told, id }
    }

    pub async fn tell(&mut self, line: &str) {
        let text = self.shell.text(&words(&line.replace("ID", &self.id))).await;
        self.told += &format!("$ drover {line}\n{text}\n");
    }
}

#[tokio::test]
async fn wrong_use_is_one_line_and_exit_2() {
    let table = r#"
shear                                                     | 2 | shear
servers --color                                           | 2 | --color
servers --state well                                      | 2 | must be one of
show db_x                                                 | 2 | is not an id
show                                                      | 2 | <ID>
adopt server --name a                                     | 2 | --address
adopt server --name=a --address=b --cloud=ec2             | 2 | --instance-id
adopt resource --password swordfish                       | 2 | --password
tier gold --rules {                                       | 2 | --rules is not JSON
tier ../servers --rules {}                                | 2 | tier's name
adopt server --name=a --address=b --ssh-key-file=/no/such | 2 | /no/such cannot be read
"#;
    all_fail(&[("DROVER_API_TOKEN", TOKEN)], table).await;
    let help = run(&["--help"], &[]).await;
    assert!(help.status.success() && help.stderr.is_empty());
    let help = String::from_utf8(help.stdout).unwrap();
    help.says(["migrate", "adopt", "DATABASE_URL"]);
    help.says(["DROVER_API_TOKEN", "Exit status"]);
    assert_eq!(run(&[""; 0], &[]).await.status.code(), Some(2));
    let told = failed(&run(&["servers"], &[]).await, 2);
    assert!(told.contains("DROVER_API_TOKEN is not set"), "{told}");
}

#[tokio::test]
async fn a_process_says_what_it_lacks() {
    let (url, _) = shared_empty_database().await.unwrap();
    // A name alone has the value that it should have.
    let good = [
        ("DATABASE_URL", url.as_str()),
        ("DROVER_SECRET_KEY", SECRET_KEY),
        ("DROVER_API_TOKEN", TOKEN),
    ];
    let table = r#"
migrate |                                                                 | 2 | DATABASE_URL is not set
clock   |                                                                 | 2 | DATABASE_URL is not set
web     | DATABASE_URL                                                    | 2 | DROVER_API_TOKEN is not set
web     | DATABASE_URL DROVER_API_TOKEN=short                             | 2 | at least 16
web     | DATABASE_URL DROVER_API_TOKEN DROVER_ADMIN_TOKEN=short          | 2 | DROVER_ADMIN_TOKEN must have at least 16
web     | DATABASE_URL DROVER_API_TOKEN DROVER_ADMIN_TOKEN=@token          | 2 | must differ
web     | DATABASE_URL DROVER_API_TOKEN                                   | 2 | DROVER_SECRET_KEY is not set
web     | DATABASE_URL DROVER_API_TOKEN DROVER_SECRET_KEY=x               | 2 | 32 bytes
web     | DATABASE_URL DROVER_API_TOKEN DROVER_SECRET_KEY PORT=0          | 2 | PORT must be
web     | DATABASE_URL DROVER_API_TOKEN DROVER_SECRET_KEY DROVER_RULES=[] | 2 | DROVER_RULES
migrate | DATABASE_URL=nonsense                                           | 2 | DATABASE_URL is no
migrate | DATABASE_URL DROVER_LOG==,=                                     | 2 | DROVER_LOG
migrate | DATABASE_URL=postgres://u:swordfish@127.0.0.1:1/d               | 1 | cannot be reached
web     | DATABASE_URL DROVER_API_TOKEN DROVER_SECRET_KEY                 | 1 | run: drover migrate
clock   | DATABASE_URL                                                    | 1 | run: drover migrate
"#;
    for line in table.trim().lines() {
        let (process, line) = line.split_once(" | ").unwrap();
        let (settings, expected) = line.split_once(" | ").unwrap();
        let settings = settings.replace("@token", TOKEN);
        let settings = settings.split_whitespace().map(|setting| {
            let well = || *good.iter().find(|(name, _)| *name == setting).unwrap();
            setting.split_once('=').unwrap_or_else(well)
        });
        let settings: Vec<(&str, &str)> = settings.collect();
        all_fail(&settings, &format!("{process} | {expected}")).await;
    }
}

#[tokio::test]
async fn a_web_process_comes_up_and_ends_at_sigterm() {
    let (url, _) = shared_empty_database().await.unwrap();
    for _ in 0..2 {
        let done = run(&["migrate"], &[("DATABASE_URL", &url)]).await;
        assert!(done.status.success(), "{done:?}");
    }
    let port = free_port().unwrap();
    let taken = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let port = port.to_string();
    let settings = [
        ("DATABASE_URL", url.as_str()),
        ("DROVER_SECRET_KEY", SECRET_KEY),
        ("DROVER_API_TOKEN", TOKEN),
        ("PORT", &port),
    ];
    let told = failed(&run(&["web"], &settings).await, 1);
    told.says(["cannot listen on", &port]);
    drop(taken);
    let mut web = drover(&["web"], &settings)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut answered = false;
    for _ in 0..100 {
        let ring = run(&["ring", "--json"], &settings).await;
        if ring.status.success() {
            answered = true;
            break;
        }
        failed(&ring, 1);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(answered, "drover web did not come up");
    // An answer under way is waited for: nobody sees this server within 10 s.
    let adopt = ["adopt", "server", "--name=slow", "--address=10.1.2.3"];
    let adopt = tokio::spawn(async move {
        drover(&adopt, &[("DROVER_API_TOKEN", TOKEN), ("PORT", &port)])
            .output()
            .await
            .unwrap()
    });
    tokio::time::sleep(Duration::from_secs(2)).await;
    let pid = nix::unistd::Pid::from_raw(i32::try_from(web.id().unwrap()).unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(25), web.wait()).await;
    assert!(ended.expect("it stops within 25 s").unwrap().success());
    let adopted = adopt.await.unwrap();
    assert!(adopted.status.success(), "{adopted:?}");
}

#[tokio::test]
async fn a_herd_is_adopted_looked_at_and_forgotten() {
    let deployment = Deployment::start().await;
    let shell = Shell(&deployment);
    let (key, host_key) = key_pair("ed25519", "");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("key");
    std::fs::write(&file, key).unwrap();
    let file = format!("--ssh-key-file={}", file.display());
    let host_key = format!("--host-key={host_key}");
    let adopt = words("adopt server --name=web1 --address=web1.example --no-wait");
    let adopt: Vec<&str> = adopt.iter().map(String::as_str).collect();
    let server = shell
        .json(&[&adopt[..], &[&file, &host_key]].concat())
        .await;
    let server = server["id"].as_str().unwrap();
    let on = format!("--server={server}");
    let adopt = format!("adopt resource {on} --name=app --port=5432 --database=app --user=u");
    let db = shell.json(&words(&adopt)).await;
    let db = db["id"].as_str().unwrap().to_owned();

    let adopt = format!("adopt resource {on} --name=b --port=5433 --database=b --user=u");
    let adopt = words(&format!("{adopt} --password-file=-"));
    let stdin: Vec<&str> = adopt.iter().map(String::as_str).collect();
    let settings = [
        ("DROVER_URL", deployment.url.as_str()),
        ("DROVER_API_TOKEN", TOKEN),
    ];
    let mut child = drover(&stdin, &settings)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut typed = child.stdin.take().unwrap();
    typed.write_all(b"from stdin\n").await.unwrap();
    drop(typed);
    assert!(child.wait().await.unwrap().success());
    let without = run(&stdin[..stdin.len() - 1], &settings).await;
    assert!(failed(&without, 2).contains("DROVER_RESOURCE_PASSWORD"));

    deployment.feel(server, well()).await;
    let seen = deployment.feel_again(server, well()).await;
    let (from, to) = ("uncertain", "available");
    deployment.turns(server, from, to, seen).await;
    let odd = Attributes::failed(Cause::Refused, "port 5432\u{1b}[31m: refused");
    deployment.feel(&db, odd).await;

    let tier = words(r#"tier gold --rules {"cadence":{"available":"5s"}}"#);
    let available = ["resources", "--state", "available"];
    let show = [
        ("servers", shell.text(&["servers"]).await),
        ("resources", shell.text(&["resources"]).await),
        ("resources in a state", shell.text(&available).await),
        ("show", shell.text(&["show", &db]).await),
        ("observations", shell.text(&["observations", &db]).await),
        ("transitions", shell.text(&["transitions", server]).await),
        ("ring", shell.text(&["ring"]).await),
        ("tier", shell.text(&tier).await),
        ("tiers", shell.text(&["tiers"]).await),
    ];
    let show: String = show
        .iter()
        .map(|(what, text)| format!("# {what}\n{text}\n"))
        .collect();
    insta::with_settings!({filters => filters(&[])}, { insta::assert_snapshot!(show) });

    let list = shell.json(&["resources", "--limit", "1"]).await;
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
    assert!(list["next_cursor"].is_string());
    assert_eq!(shell.json(&["show", &db]).await["id"], db);
    assert_eq!(shell.json(&["show", "app"]).await["id"], db);
    assert_eq!(shell.json(&["show", "web1"]).await["id"], server);
    let told = failed(&shell.output(&["show", "nobody"]).await, 1);
    assert!(told.contains("is named `nobody`"), "{told}");
    let on = shell.json(&["resources", "--server", "web1"]).await;
    assert_eq!(on["items"].as_array().unwrap().len(), 2);
    let seen = shell.json(&["observations", &db]).await;
    assert_eq!(seen["items"].as_array().unwrap().len(), 1);
    assert_eq!(shell.json(&["ring"]).await["live_subjects"], 3);
    let felt = shell.json(&["feel", server]).await;
    assert_eq!(felt, json!({"brought_forward": true}));

    let told = failed(&shell.output(&["forget", server]).await, 1);
    assert!(told.contains("still has 2 resources"), "{told}");
    assert_eq!(shell.json(&["forget", &db]).await, json!({"forgotten": db}));
    let told = failed(&shell.output(&["show", &db]).await, 1);
    assert!(told.contains(&db), "{told}");
    let wrong = [
        ("DROVER_URL", deployment.url.as_str()),
        ("DROVER_API_TOKEN", "wrong-wrong-wrong-wrong"),
    ];
    assert!(failed(&run(&["ring"], &wrong).await, 1).contains("not the deployment's token"));
}

#[tokio::test]
async fn a_list_is_followed_beyond_the_api_s_largest_page() {
    let deployment = Deployment::start().await;
    let server = deployment.server("there").await;
    for n in 0..520 {
        deployment.resource(&server, &format!("r{n}")).await;
    }
    let shell = Shell(&deployment);
    let list = shell.json(&["resources"]).await;
    assert_eq!(list["items"].as_array().unwrap().len(), 520);
    let list = shell.json(&["resources", "--limit", "510"]).await;
    assert_eq!(list["items"].as_array().unwrap().len(), 510);
    let few = shell.text(&["resources", "--limit", "3"]).await;
    few.says(["and more"]);
}
