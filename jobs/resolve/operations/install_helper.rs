//! `install_helper`: a server gets `drover-root`, or a newer one; once that is proved to be
//! enough, its login loses the rule of sudo by which it may do everything.
//!
//! Architecture Invariant: at no moment may the login do less than it has to. What it is
//! given is proved before anything is taken from it, and only a rule is taken that what it
//! was given does not rest on (`wide_rules.pl`).

use drover::model::{OperationKind, Server};
use serde::{Deserialize, Serialize};

use super::kind::{Context, Operation, Outcome, Step, Turn, Work, step};
use super::script;
use crate::host::scripts::{
    INSTALL_HELPER, LOOK_HELPER, NARROW_LOGIN, PUT_HELPER, REPLACE_HELPER, WIDE_RULES,
};
use crate::host::{HELPER, Report, helper};
use crate::ssh;

/// A server gets `drover-root`, and its login no other way to root.
pub(super) struct InstallHelper;

/// What is asked.
#[derive(Deserialize)]
pub(super) struct Params {
    /// drover itself asks: an older one is replaced, and nothing else is changed.
    #[serde(default)]
    only_replace: bool,
}

/// What of the login's rules goes, and what does not.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Memo {
    /// Why there is nothing to do.
    idle: Option<String>,
    /// Taken out, or about to be: `/etc/sudoers.d/x: RULE`.
    removes: Vec<String>,
    /// Left to a human.
    human: Vec<String>,
}

impl Operation for InstallHelper {
    type Params = Params;
    type Memo = Memo;
    const KIND: OperationKind = OperationKind::InstallHelper;
    const STEPS: &'static [Step<Self>] = &[
        step!("look", "see what its login may do" => look),
        step!("install", "install drover-root by its login's sudo" => install),
        step!("replace", "have drover-root replaced by this release's" => replace),
        step!("prove", "prove that drover-root is all that drover needs" => prove),
        step!("rules", "find the rules that let its login do everything" => rules),
        step!("restrict", "take these rules from its login" => restrict),
        step!("confirm", "prove that drover-root still works, and that its login may not do everything" => confirm),
    ];
}

/// So many rules are written down of each sort, and so much of each.
const MOST: usize = 20;
const LONGEST: usize = 200;

/// What a login may do, as it says.
struct Told {
    login: String,
    /// The `drover-root` that it may use.
    version: Option<u32>,
    /// Whether it has that, and what it may do as the owner of clusters, by rules of its own.
    by_rule: bool,
    wide: bool,
    /// What else sudo lets it do.
    others: String,
}

impl Told {
    fn is_enough(&self) -> bool {
        self.by_rule
            && self
                .version
                .is_some_and(|version| version >= helper::version())
    }

    fn has(&self) -> String {
        match self.version {
            Some(version) => format!("version {version} of drover-root"),
            None => "no drover-root that it may use".into(),
        }
    }
}

async fn ask(turn: &Context<'_>, rights: &str) -> Result<Told, Outcome> {
    let server = turn.server()?;
    let said = script::run(turn, server, LOOK_HELPER, &[rights], b"").await?;
    let number = said.value("version")?;
    let number = number.parse().ok().filter(|_| number.len() <= 9);
    let owner = said.value("owner")?;
    let others = said.value("others").unwrap_or_default();
    Ok(Told {
        login: said.value("login")?.chars().take(64).collect(),
        version: number,
        by_rule: said.value("rule")? == "yes" && ["yes", "none"].contains(&owner),
        wide: said.value("wide").is_ok_and(|wide| wide == "yes"),
        others: others.trim_matches(';').chars().take(LONGEST).collect(),
    })
}

/// What root has to run where the login cannot become root.
fn by_hand(server: &Server, login: &str) -> String {
    let key = match server.ssh_key {
        Some(_) => " --ssh-key FILE",
        None => "",
    };
    format!(
        "drover-worker helper {login}{key} | ssh root@{} sh",
        server.address
    )
}

async fn look(turn: &mut Turn<'_, InstallHelper>) -> Work {
    let server = turn.server()?;
    let told = ask(turn, "rights").await?;
    let login = &told.login;
    let old = told.version.filter(|version| *version < helper::version());
    if turn.params.only_replace {
        let has = format!("{login} has {}", told.has());
        return Ok(match old {
            Some(_) => Outcome::then("replace", has),
            None => {
                turn.memo.idle = Some(has.clone());
                Outcome::then("confirm", has)
            }
        });
    }
    if login == "root" || !helper::is_login(login) {
        return Err(Outcome::hopeless(format!(
            "drover logs in as {login}: drover-root is for a login of drover's own, with another \
             name than one in capitals"
        )));
    }
    let has = format!("{login} has {}", told.has());
    match (told.is_enough(), told.wide, old) {
        (true, true, _) => Ok(Outcome::then(
            "prove",
            format!("{has}, and may do everything"),
        )),
        (true, false, _) => Ok(Outcome::then("confirm", has)),
        (false, true, _) => Ok(Outcome::done(format!("{has}, and may do everything"))),
        (false, false, Some(_)) => Ok(Outcome::then("replace", has)),
        (false, false, None) => Err(Outcome::hopeless(format!(
            "{has}, and cannot become root; root has to run: {}",
            by_hand(server, login)
        ))),
    }
}

async fn install(turn: &mut Turn<'_, InstallHelper>) -> Work {
    let server = turn.server()?;
    let key = turn.tools.context.host(server, turn.limit);
    let key = key
        .map_err(|e| Outcome::hopeless(e.to_string()))?
        .target
        .key;
    let public = ssh::public_half(&key).map_err(|e| Outcome::hopeless(format!("{e:#}")))?;
    let login = ask(turn, "").await?.login;
    if !helper::is_login(&login) {
        return Err(Outcome::hopeless(format!("{login} cannot be in sudoers")));
    }
    let (signers, sudoers) = (helper::signers(&public), helper::sudoers(&login));
    let arguments = [PUT_HELPER, &signers, &sudoers];
    script::run(turn, server, INSTALL_HELPER, &arguments, b"").await?;
    let number = helper::version();
    let done = format!("version {number} of drover-root is installed for {login}");
    Ok(Outcome::then("prove", done).touching(touched(server)))
}

async fn replace(turn: &mut Turn<'_, InstallHelper>) -> Work {
    let server = turn.server()?;
    let told = ask(turn, "").await?;
    if told
        .version
        .is_some_and(|version| version >= helper::version())
    {
        return Ok(Outcome::done(format!("{} has {}", told.login, told.has())));
    }
    let key = turn.tools.context.host(server, turn.limit);
    let key = key
        .map_err(|e| Outcome::hopeless(e.to_string()))?
        .target
        .key;
    let signed = helper::signed(&key, HELPER);
    let signed = signed.map_err(|e| Outcome::hopeless(format!("{e:#}")))?;
    let said = script::run(turn, server, REPLACE_HELPER, &[], signed.as_bytes()).await?;
    Ok(Outcome::done(said.last_words()).touching(touched(server)))
}

/// Whatever is wider is not asked for here.
async fn prove(turn: &mut Turn<'_, InstallHelper>) -> Work {
    let told = enough(turn, "").await?;
    let done = format!(
        "{} may do all that drover needs by {}",
        told.login,
        told.has()
    );
    Ok(match turn.params.only_replace {
        true => Outcome::then("confirm", done),
        false => Outcome::done(done),
    })
}

async fn enough(turn: &Turn<'_, InstallHelper>, rights: &str) -> Result<Told, Outcome> {
    let told = ask(turn, rights).await?;
    let newest = told
        .version
        .is_some_and(|version| version >= helper::version());
    if told.is_enough() || turn.params.only_replace && newest {
        return Ok(told);
    }
    let rules = match told.by_rule && told.version.is_some() {
        true => "",
        false => {
            ", and sudo does not let it work by the rules that drover put there: another \
                  rule overrules them"
        }
    };
    Err(Outcome::failed(format!(
        "{} has {}{rules}",
        told.login,
        told.has()
    )))
}

/// In the record before they are taken out: what a human may want back is then in the
/// timeline, whoever dies over it.
async fn rules(turn: &mut Turn<'_, InstallHelper>) -> Work {
    let said = script::run(
        turn,
        turn.server()?,
        NARROW_LOGIN,
        &[WIDE_RULES, "tell"],
        b"",
    )
    .await?;
    remember(&mut turn.memo, &said);
    let Memo { removes, human, .. } = &turn.memo;
    Ok(Outcome::done(match (&removes[..], &human[..]) {
        ([], []) => "no rule is its login's alone".into(),
        (removes, []) => format!("goes: {}", removes.join("; ")),
        ([], human) => format!("drover does not touch: {}", human.join("; ")),
        (removes, human) => format!(
            "goes: {}; drover does not touch: {}",
            removes.join("; "),
            human.join("; ")
        ),
    }))
}

async fn restrict(turn: &mut Turn<'_, InstallHelper>) -> Work {
    let server = turn.server()?;
    let said = script::run(turn, server, NARROW_LOGIN, &[WIDE_RULES, "remove"], b"").await?;
    remember(&mut turn.memo, &said);
    let removed = &turn.memo.removes;
    if removed.is_empty() {
        return Ok(Outcome::done("there is no rule that drover may take away"));
    }
    let done = format!("taken away: {}", removed.join("; "));
    Ok(Outcome::done(done).touching(touched(server)))
}

/// What a server says of its rules is told to people, and nothing else is done with it.
fn remember(memo: &mut Memo, said: &Report) {
    for line in said.text().lines() {
        let mut words = line.splitn(3, '\t');
        let list = match words.next() {
            Some("removes") => &mut memo.removes,
            Some("human") => &mut memo.human,
            Some(_) | None => continue,
        };
        let (Some(file), Some(rule)) = (words.next(), words.next()) else {
            continue;
        };
        let told: String = format!("{file}: {rule}").chars().take(LONGEST).collect();
        if list.len() < MOST && !list.contains(&told) {
            list.push(told);
        }
    }
}

async fn confirm(turn: &mut Turn<'_, InstallHelper>) -> Work {
    if let Some(idle) = &turn.memo.idle {
        return Ok(Outcome::done(idle.clone()));
    }
    let told = enough(turn, "rights").await?;
    let works = format!("{} works by {}", told.login, told.has());
    if turn.params.only_replace {
        return Ok(Outcome::done(works));
    }
    if !told.wide {
        return Ok(Outcome::done(format!(
            "{works}, and may not do everything as root"
        )));
    }
    let mut left = turn.memo.human.clone();
    left.extend((!told.others.is_empty()).then(|| format!("sudo says: {}", told.others)));
    Ok(Outcome::done(format!(
        "{works}; it may still do everything as root, by what drover does not touch, and a \
         human should take away: {}",
        left.join("; ")
    )))
}

fn touched(server: &Server) -> String {
    format!("drover-root on {}", server.subject.name)
}
