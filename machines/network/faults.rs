//! What is wrong between machines, as rules of nftables on the host's side of the bridge,
//! where no machine's root reaches.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// One end of a way through the network: `host`, `all`, or the name of a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", from = "String")]
pub enum End {
    Machine(String),
    /// This host: the control plane, and whatever else is not a machine
    Host,
    /// The host and all machines
    All,
}

impl From<String> for End {
    fn from(text: String) -> Self {
        match text.as_str() {
            "host" => Self::Host,
            "all" => Self::All,
            _ => Self::Machine(text),
        }
    }
}

impl From<End> for String {
    fn from(end: End) -> Self {
        match end {
            End::Machine(name) => name,
            End::Host => "host".into(),
            End::All => "all".into(),
        }
    }
}

impl std::str::FromStr for End {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(text.to_owned().into())
    }
}

impl End {
    fn is(&self, name: &str) -> bool {
        matches!(self, Self::Machine(own) if own == name)
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    pub from: End,
    pub to: End,
    pub what: What,
    /// Whether the way back is as it was
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub one_way: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// No packet arrives, and nobody is told
    Cut,
    /// So many packets of a hundred are lost
    Loss(u8),
    /// No more than so many kilobits a second, of a machine with everybody together. Of what
    /// it sends a second's worth, and a quarter, goes at once: nft counts no finer
    Slow(u32),
}

impl Fault {
    pub fn cut(from: End, to: End) -> Self {
        Self {
            from,
            to,
            what: What::Cut,
            one_way: false,
        }
    }

    pub fn one_way(mut self) -> Self {
        self.one_way = true;
        self
    }

    pub fn touches(&self, machine: &str) -> bool {
        self.from.is(machine) || self.to.is(machine)
    }

    /// Whether it lies between these two, in either direction; `all` stands for anybody.
    pub fn is_between(&self, one: &End, other: &End) -> bool {
        let fits = |own: &End, asked: &End| own == asked || *asked == End::All;
        (fits(&self.from, one) && fits(&self.to, other))
            || (fits(&self.from, other) && fits(&self.to, one))
    }

    /// The other way back, where both ways are meant.
    fn ways(&self) -> Vec<(&End, &End)> {
        let mut ways = vec![(&self.from, &self.to)];
        if !self.one_way {
            ways.push((&self.to, &self.from));
        }
        ways
    }

    /// # Errors
    /// If it cannot be: nothing lies between the host and itself.
    pub fn check(&self) -> Result<(), String> {
        let machine = |end: &End| matches!(end, End::Machine(_));
        if !machine(&self.from) && !machine(&self.to) || self.from == self.to {
            return Err("one end must be a machine, and the other somebody else".into());
        }
        match self.what {
            What::Loss(percent) if !(1..=100).contains(&percent) => {
                Err("a loss is of 1 to 100 percent".into())
            }
            What::Slow(_) if !machine(&self.from) || self.to != End::All => {
                Err("slow is a machine, not the way between two".into())
            }
            What::Slow(rate) if rate < 8 => Err("slower than 8 kbit/s is a cut".into()),
            What::Cut | What::Loss(_) | What::Slow(_) => Ok(()),
        }
    }
}

/// The whole ruleset of a daemon, which replaces the one before at once.
/// `link_of` is the host's side of a machine's cable.
pub(super) fn ruleset(
    table: &str,
    faults: &[Fault],
    link_of: impl Fn(&str) -> Option<String>,
) -> String {
    let (mut forward, mut input, mut output) = (String::new(), String::new(), String::new());
    for fault in faults {
        let verdict = match fault.what {
            What::Cut => "drop".to_owned(),
            What::Loss(percent) => format!("numgen random mod 100 < {percent} drop"),
            // Enough at once that a full-sized packet always fits.
            What::Slow(rate) => format!(
                "limit rate over {} bytes/second burst {} bytes drop",
                u64::from(rate) * 125,
                (u64::from(rate) * 125 / 4).max(16_384)
            ),
        };
        for (from, to) in fault.ways() {
            let link = |end: &End| match end {
                End::Machine(name) => link_of(name),
                End::Host | End::All => None,
            };
            let (source, sink) = (link(from), link(to));
            // What a machine receives slowly waits in a queue (`queue` in mod.rs); what it
            // sends is counted here, where its root cannot change it.
            if matches!(fault.what, What::Slow(_)) && source.is_none() {
                continue;
            }
            let rule = |chain: &mut String| {
                *chain += "    ";
                if let Some(link) = &source {
                    let _ = write!(chain, "iifname \"{link}\" ");
                }
                if let Some(link) = &sink {
                    let _ = write!(chain, "oifname \"{link}\" ");
                }
                let _ = writeln!(chain, "{verdict}");
            };
            match (&source, &sink) {
                (None, None) => {} // its machine is gone
                (Some(_), Some(_)) => rule(&mut forward),
                (Some(_), None) => {
                    rule(&mut input);
                    if *to == End::All {
                        rule(&mut forward);
                    }
                }
                (None, Some(_)) => {
                    rule(&mut output);
                    if *from == End::All {
                        rule(&mut forward);
                    }
                }
            }
        }
    }
    // Addresses are still found, so that what is cut is silent, and not "no route".
    let chain = |hook: &str, rules: &str| {
        format!(
            "  chain {hook} {{\n    type filter hook {hook} priority 0; policy accept;\n    \
             ether type arp accept\n{rules}  }}\n"
        )
    };
    format!(
        "table bridge {table} {{}}\ndelete table bridge {table}\ntable bridge {table} {{\n{}{}{}}}\n",
        chain("forward", &forward),
        chain("input", &input),
        chain("output", &output),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(name: &str) -> End {
        name.to_owned().into()
    }

    /// The rules alone, each with its chain.
    fn rules(fault: &Fault) -> Vec<String> {
        let link = |name: &str| (name != "gone").then(|| format!("dm0-{name}"));
        let mut chain = "";
        let mut rules = Vec::new();
        let text = ruleset("t", std::slice::from_ref(fault), link);
        for line in text.lines() {
            if let Some(rest) = line.trim().strip_prefix("chain ") {
                chain = rest.trim_end_matches(" {");
            } else if line.ends_with("drop") {
                rules.push(format!("{chain}: {}", line.trim().replace("dm0-", "")));
                rules.sort();
            }
        }
        rules
    }

    #[test]
    fn a_cut_between_two_is_both_ways_unless_it_is_said() {
        let cut = Fault::cut(end("a"), end("b"));
        let (there, back) = (
            r#"forward: iifname "a" oifname "b" drop"#,
            r#"forward: iifname "b" oifname "a" drop"#,
        );
        assert_eq!(rules(&cut), [there, back]);
        assert_eq!(rules(&cut.one_way()), [there]);
    }

    #[test]
    fn host_and_everybody() {
        let host = Fault::cut(end("host"), end("a"));
        assert_eq!(
            rules(&host),
            [r#"input: iifname "a" drop"#, r#"output: oifname "a" drop"#]
        );
        let all = Fault::cut(end("a"), end("all")).one_way();
        assert_eq!(
            rules(&all),
            [r#"forward: iifname "a" drop"#, r#"input: iifname "a" drop"#]
        );
        let gone = Fault::cut(end("gone"), end("all"));
        assert_eq!(rules(&gone), [""; 0]);
    }

    #[test]
    fn loss_and_rate_are_said_to_nft() {
        let mut fault = Fault::cut(end("a"), end("host")).one_way();
        fault.what = What::Loss(25);
        assert_eq!(
            rules(&fault),
            [r#"input: iifname "a" numgen random mod 100 < 25 drop"#]
        );
        let mut slow = Fault::cut(end("a"), end("all"));
        slow.what = What::Slow(1000);
        let limit = "limit rate over 125000 bytes/second burst 31250 bytes drop";
        assert_eq!(
            rules(&slow),
            [
                format!(r#"forward: iifname "a" {limit}"#),
                format!(r#"input: iifname "a" {limit}"#)
            ]
        );
    }

    #[test]
    fn healing_finds_both_directions_and_all_of_a_machine() {
        let cut = Fault::cut(end("a"), end("host"));
        assert!(cut.is_between(&end("host"), &end("a")));
        assert!(cut.is_between(&end("a"), &End::All));
        assert!(!cut.is_between(&end("a"), &end("b")));
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(Fault::cut(end("host"), end("all")).check().is_err());
        assert!(Fault::cut(end("a"), end("a")).check().is_err());
        assert!(Fault::cut(end("a"), end("all")).check().is_ok());
    }
}
