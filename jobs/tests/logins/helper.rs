//! Whoever may use drover-root does not become root by it, whatever they give it.

use drover::model::{ExposeSecret, Secret, secret};
use drover_jobs::host::scripts::{INSTALL_HELPER, PUT_HELPER};
use drover_jobs::host::{HELPER, helper};
use russh::keys::ssh_key::{HashAlg, LineEnding};
use russh::keys::{Algorithm, PrivateKey, decode_secret_key};

use crate::machine::{Login, Machine, is_not_proved};

/// What would do harm if anything of it were run as root, read, or followed.
const TRAPS: &str = "
    rm -rf /tmp/evil; mkdir -p /tmp/evil; cd /tmp/evil
    for c in systemctl timeout apt-get blkid mount findmnt lsblk ssh-keygen perl id chown; do
      printf '#!/bin/sh\\ntouch /tmp/pwned\\n' >$c
    done
    for m in strict warnings Fcntl IO Evil; do echo 'BEGIN { system q(touch /tmp/pwned) } 1;' >$m.pm; done
    chmod 755 *; ln -sfn /etc/shadow /tmp/evil/link";

/// How root's things are.
async fn standing(machine: &Machine) -> String {
    machine
        .root(
            "ls /tmp/pwned 2>/dev/null
             sha256sum /etc/secret /etc/passwd /etc/shadow /etc/fstab /usr/local/sbin/drover-root \
               /etc/drover/* /etc/sudoers /etc/sudoers.d/*
             stat -c '%n %U %G %a' /etc /etc/secret /etc/shadow /usr/local/sbin/* /etc/drover/* \
               /etc/sudoers.d/* /var/lib/drover
             find / -xdev -perm /6000 -type f | sort | sha256sum",
        )
        .await
}

#[tokio::test]
async fn who_may_use_drover_root_does_not_become_root() {
    let machine = Machine::make().await;
    machine.root("drover-root forget machine").await;
    machine.tries(Login::Helper, TRAPS, b"").await;
    // The owner of the clusters is on their side.
    machine
        .root(
            "runuser -u postgres -- ln -s /etc /var/lib/postgresql/97
             runuser -u postgres -- ln -s /etc/secret /var/lib/postgresql/secret",
        )
        .await;
    let before = standing(&machine).await;
    let id = "12345678-1234-1234-1234-123456789abc";
    let word = format!("word machine - d 0 - 1:a {id} 9");
    let commands = [
        // Anything else than drover-root, and anybody else than postgres.
        "id",
        "-u root id",
        "-u sudoer id",
        "-u postgres -g root cat /etc/secret",
        "/bin/sh -c id",
        "-E drover-root version",
        "PERL5LIB=/tmp/evil drover-root version",
        "-s",
        "-i",
        "-e /etc/sudoers",
        "/tmp/evil/drover-root",
        "perl /usr/local/sbin/drover-root version",
        // No such verb, and none that is an option.
        "drover-root",
        "drover-root as root id",
        "drover-root as postgres id",
        "drover-root -e 'system q(id)'",
        "drover-root --",
        "drover-root does touch /tmp/pwned",
        "drover-root 'version; touch /tmp/pwned'",
        // Arguments.
        "drover-root version extra",
        "drover-root unit restart 15 main 5",
        "drover-root unit start 15 ../../x 5",
        "drover-root unit start 15 'main.service ssh' 5",
        "drover-root unit start 15 main.service@x 5",
        "drover-root unit start 15 -x 5",
        "drover-root unit start 15 main '5 id'",
        "drover-root unit start 15 main -s",
        "drover-root unit start '15;touch /tmp/pwned' main 5",
        "drover-root unit start '$(touch /tmp/pwned)' main 5",
        "drover-root unit start \"15\n\" main 5",
        "drover-root drop_unit 15 --now",
        "drover-root drop_unit 15 \"main\nssh\"",
        "drover-root make_trees ../../root",
        "drover-root make_trees 15/../../../etc",
        "drover-root make_trees \"15\n\"",
        "drover-root mount_data /etc/passwd",
        "drover-root mount_data /dev/../etc/passwd",
        "drover-root mount_data /tmp/evil/link",
        "drover-root mount_data -t",
        "drover-root mount_data '/dev/null -o suid'",
        "drover-root grow_mounted /tmp/evil/link",
        "drover-root grow_mounted /proc",
        "drover-root grow_mounted \"/\n/\"",
        "drover-root install_packages '15 vim'",
        "drover-root install_packages -o=Dir=/tmp/evil",
        "drover-root install_packages /tmp/evil/x.deb",
        "drover-root word",
        "drover-root word ../../../etc/secret - d 0 - 1:a",
        "drover-root forget ../../../etc/secret",
        "drover-root forget .machine.lock",
        "drover-root forget machine/../x",
        "drover-root forget \"machine\n\"",
        "drover-root words /etc",
        "drover-root replace /tmp/evil/link",
        "drover-root replace",
    ];
    let places = ["/tmp/evil", "/"];
    for (n, command) in commands.iter().enumerate() {
        let command = format!(
            "cd {}; export PATH=/tmp/evil:/usr/local/sbin:/usr/bin:/bin PERL5LIB=/tmp/evil \
             PERL5OPT=-MEvil PERLLIB=/tmp/evil HOME=/tmp/evil BASH_ENV=/tmp/evil/id \
             ENV=/tmp/evil/id; /usr/bin/sudo -n {command}",
            places[n % 2]
        );
        let (status, said) = machine.tries(Login::Helper, &command, b"junk\n").await;
        assert_ne!(status, Some(0), "{command}: {said}");
        assert!(!said.contains("only root may know"), "{command}: {said}");
        assert_eq!(standing(&machine).await, before, "{command}");
    }
    // What is allowed does no more than it says, whatever the surroundings.
    for allowed in [
        "drover-root version",
        "drover-root clusters_changed",
        "drover-root make_trees 97",
        "drover-root words",
        "-u postgres id",
    ] {
        let command = format!(
            "cd /tmp/evil; export PATH=/tmp/evil:/usr/local/sbin:/usr/bin:/bin PERL5OPT=-MEvil \
             PERL5LIB=/tmp/evil; /usr/bin/sudo -n {allowed}"
        );
        let (status, said) = machine.tries(Login::Helper, &command, b"").await;
        assert_eq!(status, Some(0), "{command}: {said}");
        let now = standing(&machine).await;
        assert_eq!(now, before, "{command}");
    }
    let (status, said) = machine
        .tries(Login::Helper, &format!("sudo -n drover-root {word}"), b"")
        .await;
    assert_eq!(status, Some(76), "{said}");
    let (status, _) = machine
        .tries(Login::Stranger, "sudo -n drover-root version", b"")
        .await;
    assert_eq!(status, Some(1));
}

fn of_version(number: u32) -> String {
    let now = format!("my $VERSION = {};", helper::version());
    assert!(HELPER.contains(&now));
    HELPER.replace(&now, &format!("my $VERSION = {number};"))
}

fn signed_for(key: &Secret, namespace: &str, text: &str) -> String {
    let key = decode_secret_key(key.expose_secret(), None).unwrap();
    let signature = key
        .sign(namespace, HashAlg::Sha512, text.as_bytes())
        .unwrap();
    format!(
        "{}\n{text}",
        signature.to_pem(LineEnding::LF).unwrap().trim_end()
    )
}

#[tokio::test]
async fn only_what_the_deployment_has_signed_takes_its_place() {
    let machine = Machine::make().await;
    let before = standing(&machine).await;
    let newer = of_version(helper::version() + 1);
    let evil = newer.replace(
        "#!/usr/bin/perl",
        "#!/usr/bin/perl\nsystem q(touch /tmp/pwned);",
    );
    let right = helper::signed(machine.key(), &newer).unwrap();
    let stranger = PrivateKey::random(&mut rand::rng(), Algorithm::Ed25519).unwrap();
    let stranger = secret(stranger.to_openssh(LineEnding::LF).unwrap().to_string());
    let (head, _) = right.split_once("#!/usr/bin/perl").unwrap();
    for (what, given) in [
        (
            "another's signature",
            helper::signed(&stranger, &newer).unwrap(),
        ),
        (
            "a signature for something else",
            signed_for(machine.key(), "file", &newer),
        ),
        ("another text", format!("{head}{evil}")),
        ("a text before it", format!("{evil}\n{right}")),
        (
            "a text behind it",
            format!("{right}system q(touch /tmp/pwned);\n"),
        ),
        ("no signature", newer.clone()),
        ("nothing", String::new()),
        (
            "the same version",
            helper::signed(machine.key(), HELPER).unwrap(),
        ),
        (
            "an older version",
            helper::signed(machine.key(), &of_version(0)).unwrap(),
        ),
        (
            "no version",
            helper::signed(machine.key(), "#!/bin/sh\nid\n").unwrap(),
        ),
    ] {
        let command = "sudo -n drover-root replace";
        let (status, said) = machine
            .tries(Login::Helper, command, given.as_bytes())
            .await;
        assert_eq!(status, Some(1), "{what}: {said}");
        let now = machine
            .root("drover-root version; sha256sum </usr/local/sbin/drover-root")
            .await;
        assert!(
            now.starts_with(&format!("{}\n", helper::version())),
            "{what}: {now}"
        );
    }
    let sudo = "sudo -n drover-root replace && sudo -n drover-root version";
    let (status, said) = machine.tries(Login::Helper, sudo, right.as_bytes()).await;
    let next = helper::version() + 1;
    assert_eq!(
        (status, said),
        (Some(0), format!("version {next} is installed\n{next}\n"))
    );
    let text = machine.root("cat /usr/local/sbin/drover-root").await;
    assert_eq!(text, newer.trim());
    let stat = machine
        .root("stat -c '%U %a' /usr/local/sbin/drover-root")
        .await;
    assert_eq!(stat, "root 755");
    assert!(!before.contains("pwned") && !standing(&machine).await.contains("/tmp/pwned"));
}

/// Whatever somebody puts into it: a sudoers file that cannot be read would keep everybody
/// from sudo.
#[tokio::test]
async fn nothing_that_cannot_be_read_and_nothing_older_is_installed() {
    let machine = Machine::make().await;
    let of_sudo = "sha256sum /etc/sudoers.d/*; ls -A /etc/sudoers.d; visudo -c";
    let before = machine.root(of_sudo).await;
    for broken in [
        "helped ALL=(root NOPASSWD: ALL\n",
        "helped\n",
        "@include /x(\n",
    ] {
        let arguments = [PUT_HELPER, "nobody\n", broken];
        let ended = machine
            .run(Login::Sudo, INSTALL_HELPER, None, &arguments, "")
            .await;
        let (status, why) = ended.unwrap_err();
        assert_eq!(status, Some(1), "{broken}: {why}");
        assert!(why.contains("is not installed"), "{broken}: {why}");
        assert_eq!(machine.root(of_sudo).await, before, "{broken}");
    }
    let newer = of_version(helper::version() + 7);
    let newer = newer.lines().find(|line| line.starts_with("my $VERSION"));
    let path = helper::PATH;
    machine
        .root(&format!(
            "sed -i 's/^my $VERSION = .*/{}/' {path}",
            newer.unwrap()
        ))
        .await;
    let sudoers = helper::sudoers("helped");
    let arguments = [PUT_HELPER, "nobody\n", &sudoers];
    machine
        .does(Login::Sudo, INSTALL_HELPER, &arguments, "")
        .await;
    let installed = machine.root("drover-root version").await;
    assert_eq!(installed, (helper::version() + 7).to_string());
    assert_eq!(
        machine.root("cat /etc/drover/allowed_signers").await,
        "nobody"
    );
    // Who has no sudo for all has nothing installed.
    let ended = machine
        .run(Login::Helper, INSTALL_HELPER, None, &arguments, "")
        .await;
    assert!(is_not_proved(&ended), "{ended:?}");
}
