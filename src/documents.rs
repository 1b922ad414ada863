//! The documents name all that the code has, and keep their length.

use std::path::Path;

use clap::CommandFactory;

use drover::clock::Chore;
use drover::model::{IncidentKind, OperationKind};
use drover::store::queue::Queue;

use crate::cli::Cli;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Those of these words that a page does not name.
fn missing<'a>(page: &str, words: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    // A page that is missing names nothing.
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page));
    let text = text.unwrap_or_default();
    let missing = words.into_iter().filter(|word| !text.contains(*word));
    missing.map(|word| format!("{page}: {word}")).collect()
}

#[test]
fn what_the_code_has_is_named_on_its_page() {
    let mut all = Vec::new();
    let incidents = IncidentKind::ALL.iter().map(|kind| kind.as_str());
    all.extend(missing("docs/playbooks/README.md", incidents));
    for kind in IncidentKind::ALL {
        let page = format!("docs/playbooks/{kind}.md");
        all.extend(missing(&page, ["# "]));
    }
    let operations = OperationKind::ALL.iter().map(|kind| kind.as_str());
    all.extend(missing("docs/api.md", operations));
    let queues = Queue::ALL.iter().map(|queue| queue.as_str());
    all.extend(missing("docs/running.md", queues.clone()));
    // Feel's processes work at the silent too.
    let started = queues.filter(|queue| *queue != Queue::Silent.as_str());
    all.extend(missing("Procfile", started));
    let chores = Chore::ALL.iter().map(|chore| chore.as_str());
    all.extend(missing("docs/decisions.md", chores));
    assert!(all.is_empty(), "not documented:\n{}", all.join("\n"));
}

#[test]
fn every_setting_that_is_read_is_on_the_page_of_settings() {
    let sources = ["src/config.rs", "src/config/notify.rs", "src/config/ec2.rs"];
    let mut settings = Vec::new();
    for source in sources {
        let text = read(source);
        for (at, _) in text.match_indices("\"DROVER_") {
            let text = text[at + 1..].split('"').next().unwrap_or_default();
            // A setting's name, not a message that begins with one.
            let is_name = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
            if text.chars().all(is_name) {
                settings.push(text.to_owned());
            }
        }
    }
    assert!(settings.len() > 10, "the settings were not found");
    let all = missing("docs/configuration.md", settings.iter().map(String::as_str));
    assert!(all.is_empty(), "not documented:\n{}", all.join("\n"));
}

#[test]
fn every_command_is_on_a_page() {
    let pages = [
        "README.md",
        "docs/running.md",
        "docs/operating.md",
        "docs/api.md",
    ];
    let text: String = pages.iter().map(|page| read(page)).collect();
    let cli = Cli::command();
    let unnamed: Vec<&str> = cli
        .get_subcommands()
        .map(clap::Command::get_name)
        .filter(|name| !text.contains(&format!("`drover {name}`")))
        .collect();
    assert!(unnamed.is_empty(), "commands on no page: {unnamed:?}");
}

#[test]
fn documents_keep_their_length() {
    for (page, most) in [
        ("README.md", 6 * 1024),
        ("ARCHITECTURE.md", 22 * 1024),
        ("CONTRIBUTING.md", 6 * 1024),
    ] {
        let length = read(page).len();
        assert!(
            length <= most,
            "{page} has {length} bytes, and {most} are its length"
        );
    }
}

#[test]
fn links_between_documents_lead_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = vec![
        "README.md".to_owned(),
        "ARCHITECTURE.md".into(),
        "CONTRIBUTING.md".into(),
    ];
    for folder in ["docs", "docs/playbooks"] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.ends_with(".md") {
                pages.push(format!("{folder}/{name}"));
            }
        }
    }
    let mut dead = Vec::new();
    for page in &pages {
        let text = read(page);
        let from = root.join(page);
        for (at, _) in text.match_indices("](") {
            let target = text[at + 2..].split(')').next().unwrap_or_default();
            let file = target.split('#').next().unwrap_or_default();
            if file.is_empty() || file.contains("://") {
                continue;
            }
            if !from
                .parent()
                .is_some_and(|folder| folder.join(file).exists())
            {
                dead.push(format!("{page}: {target}"));
            }
        }
    }
    assert!(dead.is_empty(), "dead links:\n{}", dead.join("\n"));
}
