//! Tables for people, JSON for scripts.

use comfy_table::{Table, presets};
use drover_machines::image::Made;
use drover_machines::protocol::{Machine, Volume};

fn table(head: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_header(head.iter().copied());
    table
}

fn json(all: &impl serde::Serialize) {
    println!("{}", serde_json::to_string_pretty(all).expect("it is JSON"));
}

pub(super) fn machines(all: &[Machine], as_json: bool) {
    if as_json {
        return json(&all);
    }
    let mut table = table(&[
        "NAME", "POWER", "ADDRESS", "IMAGE", "GROUP", "INSTANCE", "VOLUMES",
    ]);
    for machine in all {
        let second = machine
            .second_address
            .map(|own| format!(" {own}"))
            .unwrap_or_default();
        table.add_row([
            machine.name.clone(),
            machine.power.to_string(),
            format!("{}{second}", machine.address),
            machine.image.name().into(),
            machine.group.clone(),
            machine.instance_id.clone(),
            machine.volumes.join(" "),
        ]);
    }
    println!("{table}");
}

pub(super) fn volumes(all: &[Volume], as_json: bool) {
    if as_json {
        return json(&all);
    }
    let mut table = table(&["VOLUME", "MIB", "MACHINE", "DEVICE", "HEALTH", "GROUP"]);
    for volume in all {
        table.add_row([
            volume.id.clone(),
            (volume.size >> 20).to_string(),
            volume.machine.clone().unwrap_or_default(),
            volume.device.clone().unwrap_or_default(),
            format!("{:?}", volume.health).to_lowercase(),
            volume.group.clone(),
        ]);
    }
    println!("{table}");
}

pub(super) fn images(all: &[Made]) {
    let mut table = table(&["IMAGE", "FOLDER"]);
    for made in all {
        let folder = match &made.path {
            Some(path) => path.display().to_string(),
            None => "not made yet".into(),
        };
        table.add_row([made.image.name().to_owned(), folder]);
    }
    println!("{table}");
}
