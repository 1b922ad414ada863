//! The tables of docs/deciding.md, row by row, and what must hold for any history.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use drover::model::{
    Attributes, Cause, ClusterIdentity, IncidentKind, Kind, Observation, ObservationId, Origin,
    Rules, State, Subject, SubjectId, Witness,
};

use super::{Decision, Host, Leader, Pin, Position, Scene, think};

mod assessments;
mod evidence;
mod followers;
mod found;
mod history;
mod noise;

fn at(seconds: f64) -> DateTime<Utc> {
    DateTime::<Utc>::UNIX_EPOCH + TimeDelta::milliseconds((seconds * 1000.0) as i64)
}

fn good() -> Attributes {
    Attributes::available(1.0)
}

fn bad(cause: Cause) -> Attributes {
    Attributes::failed(cause, "as told")
}

fn witnessed(cause: Cause, witness: Witness) -> Attributes {
    Attributes {
        witness: Some(witness),
        ..bad(cause)
    }
}

fn down() -> Witness {
    Witness::Down {
        detail: "cluster is down".into(),
    }
}

fn up() -> Witness {
    Witness::Up {
        detail: "postmaster lives".into(),
    }
}

fn silent() -> Witness {
    Witness::Silent {
        cause: Cause::Refused,
        detail: "no sshd".into(),
    }
}

/// A subject in a state since second 0, and what was seen of it, oldest first.
struct Play {
    id: SubjectId,
    kind: Kind,
    state: State,
    host: State,
    host_since: f64,
    adopted: f64,
    feelers: u16,
    origin: Origin,
    seen: Vec<(f64, &'static str, Attributes)>,
    /// What was seen of whom it follows, oldest first, if it follows.
    leader: Option<Leads>,
}

/// Whom a subject follows, and what was seen of that one, oldest first.
type Leads = (SubjectId, State, Vec<(f64, Attributes)>);

impl Play {
    fn resource(state: State) -> Self {
        Self {
            id: SubjectId::generate(),
            kind: Kind::Resource,
            state,
            host: State::Available,
            host_since: 0.0,
            adopted: -60.0,
            feelers: 2,
            origin: Origin::Adopted,
            seen: Vec::new(),
            leader: None,
        }
    }

    fn server(state: State) -> Self {
        Self {
            kind: Kind::Server,
            ..Self::resource(state)
        }
    }

    fn host(self, host: State) -> Self {
        Self { host, ..self }
    }

    /// drover has made it.
    fn made(self) -> Self {
        Self {
            origin: Origin::Created,
            ..self
        }
    }

    fn feelers(self, feelers: u16) -> Self {
        Self { feelers, ..self }
    }

    fn seen(mut self, second: f64, worker: &'static str, what: Attributes) -> Self {
        self.seen.push((second, worker, what));
        self
    }

    fn subject(&self) -> Subject {
        Subject {
            id: self.id,
            kind: self.kind,
            name: "app".into(),
            state: self.state,
            state_since: at(0.0),
            origin: self.origin,
            tier: "standard".into(),
            created_at: at(self.adopted),
        }
    }

    fn scene(&self) -> Scene {
        let recent = self
            .seen
            .iter()
            .rev()
            .map(|(second, worker, what)| Observation {
                id: ObservationId::generate(),
                created_at: at(*second),
                worker: (*worker).into(),
                feelers: self.feelers,
                attributes: what.clone(),
            });
        Scene {
            subject: self.subject(),
            server: (self.kind == Kind::Resource).then(|| Host {
                id: SubjectId::generate(),
                state: self.host,
                since: at(self.host_since),
            }),
            leader: self.leader(),
            positions: match &self.leader {
                Some(_) => recent.clone().map(|seen| Position::of(&seen)).collect(),
                None => vec![],
            },
            recent: recent.collect(),
            words: vec![],
            now: at(self.seen.last().map_or(0.0, |seen| seen.0)),
        }
    }

    /// Followed since second -1.
    fn leader(&self) -> Option<Leader> {
        let (id, state, seen) = self.leader.as_ref()?;
        let seen = seen.iter().rev().map(|(second, what)| Observation {
            id: ObservationId::generate(),
            created_at: at(*second),
            worker: "l".into(),
            feelers: self.feelers,
            attributes: what.clone(),
        });
        let newest = self.seen.last().map_or(0.0, |seen| seen.0);
        Some(Leader {
            id: *id,
            state: *state,
            since: at(-60.0),
            followed_since: at(-1.0),
            epoch: 3,
            max_lag_bytes: 1000,
            positions: seen.clone().map(|seen| Position::of(&seen)).collect(),
            seen: seen.clone().find(|seen| seen.created_at <= at(newest)),
        })
    }

    fn think(&self) -> Decision {
        think(&self.scene(), &Rules::default())
    }

    fn turns(&self) -> Option<State> {
        self.think().change.map(|verdict| verdict.to)
    }
}

const BOTH: [Kind; 2] = [Kind::Server, Kind::Resource];

fn play(kind: Kind, state: State) -> Play {
    match kind {
        Kind::Server => Play::server(state),
        Kind::Resource => Play::resource(state),
    }
}

#[test]
fn unseen_subjects_stay_whatever_their_state() {
    for kind in BOTH {
        for state in State::ALL.iter().copied() {
            assert_eq!(play(kind, state).turns(), None, "{kind} {state}");
        }
    }
}

#[test]
fn what_was_noted_while_it_was_made_convicts_nobody() {
    for kind in BOTH {
        let mut made = play(kind, State::Uncertain);
        for second in 0..10 {
            made = made.seen(f64::from(second), "a", bad(Cause::Creating));
        }
        let first_look = made.seen(10.0, "b", bad(Cause::Refused));
        assert_eq!(first_look.turns(), None, "{kind}");
    }
}

#[test]
fn one_observation_decides_only_in_available_and_uncertain() {
    for kind in BOTH {
        for state in State::ALL.iter().copied() {
            let after = |what| play(kind, state).seen(0.0, "a", what).turns();
            let (on_good, on_bad) = match state {
                State::Available => (None, Some(State::Uncertain)),
                State::Uncertain => (Some(State::Available), None),
                State::Unavailable | State::Creating | State::Destroying | State::Destroyed => {
                    (None, None)
                }
            };
            assert_eq!(after(good()), on_good, "{kind} {state} good");
            for cause in Cause::ALL
                .iter()
                .copied()
                .filter(|c| *c != Cause::HostKeyUnknown)
                .filter(|c| kind == Kind::Resource || *c != Cause::HostKeyChanged)
                .filter(|c| kind == Kind::Server || *c != Cause::AnotherCluster)
            {
                let nobody_looked = matches!(cause, Cause::Creating | Cause::Destroying);
                let on_bad = on_bad.filter(|_| !nobody_looked);
                assert_eq!(after(bad(cause)), on_bad, "{kind} {state} {cause}");
            }
        }
    }
}

#[test]
fn another_host_key_needs_no_second_look_whatever_a_witness_says() {
    for state in [State::Available, State::Uncertain] {
        for seen in [
            bad(Cause::HostKeyChanged),
            witnessed(Cause::HostKeyChanged, up()),
            witnessed(Cause::HostKeyChanged, down()),
            witnessed(Cause::HostKeyChanged, silent()),
        ] {
            let decision = Play::server(state).seen(0.0, "a", seen).think();
            let kinds: Vec<_> = decision.opens.iter().map(|o| o.kind).collect();
            assert_eq!(kinds, [IncidentKind::HostKeyChanged], "{state}");
            let verdict = decision.change.expect("a change");
            assert_eq!(verdict.to, State::Unavailable, "{state}");
            assert_eq!(verdict.opens, Some(IncidentKind::HostKeyChanged));
            assert_eq!(verdict.reason, "host_key_changed: as told");
        }
    }
    for state in [State::Creating, State::Destroying, State::Destroyed] {
        let play = Play::server(state).seen(0.0, "a", bad(Cause::HostKeyChanged));
        assert_eq!(play.think().opens, [], "{state}");
        assert_eq!(play.turns(), None, "{state}");
    }
}

#[test]
fn unavailable_needs_two_good_ones_in_a_row() {
    for kind in BOTH {
        let down = || play(kind, State::Unavailable).seen(0.0, "a", bad(Cause::Refused));
        assert_eq!(down().seen(5.0, "a", good()).turns(), None);
        let back = down().seen(5.0, "a", good()).seen(10.0, "a", good());
        assert_eq!(back.turns(), Some(State::Available));
        let flapping = down()
            .seen(5.0, "a", good())
            .seen(10.0, "a", bad(Cause::Refused))
            .seen(15.0, "a", good());
        assert_eq!(flapping.turns(), None);
    }
}

#[test]
fn another_key_right_after_the_adoption_wakes_nobody() {
    let mut play = Play::server(State::Uncertain);
    play.adopted = 0.0;
    let first = play.seen(0.1, "a", bad(Cause::HostKeyChanged)).think();
    assert_eq!((first.change, first.opens), (None, vec![]));
}

#[test]
fn each_incident_bears_its_kind() {
    let opens = |play: Play| play.think().change.and_then(|verdict| verdict.opens);
    let agreed = |cause| witnessed(cause, down());
    assert_eq!(
        opens(Play::resource(State::Uncertain).seen(1.0, "a", agreed(Cause::Refused))),
        Some(IncidentKind::ResourceDown)
    );
    assert_eq!(
        opens(Play::server(State::Uncertain).seen(1.0, "a", agreed(Cause::Timeout))),
        Some(IncidentKind::ServerDown)
    );
    assert_eq!(
        opens(Play::server(State::Uncertain).seen(1.0, "a", agreed(Cause::HostKeyChanged))),
        Some(IncidentKind::HostKeyChanged)
    );
    assert_eq!(
        opens(Play::resource(State::Available).seen(1.0, "a", agreed(Cause::Refused))),
        None
    );
}

#[test]
fn another_cluster_needs_no_second_look() {
    for state in [State::Available, State::Uncertain] {
        let play = Play::resource(state).seen(0.0, "a", bad(Cause::AnotherCluster));
        let decision = play.think();
        let kinds: Vec<_> = decision.opens.iter().map(|o| o.kind).collect();
        assert_eq!(kinds, [IncidentKind::AnotherCluster], "{state}");
        let verdict = decision.change.expect("a change");
        assert_eq!(verdict.to, State::Unavailable, "{state}");
    }
}

#[test]
fn the_first_feel_in_service_pins_the_cluster() {
    let is = || ClusterIdentity {
        system_identifier: "7712455769142313315".into(),
        data_directory: Some("/var/lib/postgresql/15/main".into()),
    };
    let seen = |mut seen: Attributes| {
        seen.resource.system_identifier = Some(is().system_identifier);
        seen.resource.data_directory = is().data_directory;
        let decision = Play::resource(State::Available)
            .seen(0.0, "a", seen)
            .think();
        (decision.pin, decision.change.map(|change| change.to))
    };
    assert_eq!(seen(good()), (Some(Pin::Cluster(is())), None));
    let another = seen(bad(Cause::AnotherCluster));
    assert_eq!(another, (None, Some(State::Unavailable)));
}

#[test]
fn the_first_contact_pins_the_key_it_saw() {
    let mut seen = bad(Cause::HostKeyUnknown);
    seen.server.host_key = Some("ssh-ed25519 AAAA".into());
    for state in [State::Uncertain, State::Available, State::Unavailable] {
        let decision = Play::server(state).seen(0.0, "a", seen.clone()).think();
        assert_eq!(decision.pin, Some(Pin::HostKey("ssh-ed25519 AAAA".into())));
        assert_eq!(decision.change, None);
        assert!(decision.after < Duration::from_secs(1));
    }
}
