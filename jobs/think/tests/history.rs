//! What must hold for any history.

use chrono::{DateTime, TimeDelta, Utc};
use drover::model::{Attributes, Cause, Kind, Observation, ObservationId, Rules, State, SubjectId};
use proptest::prelude::*;

use super::super::Host;
use super::super::replay::{Recorded, replay};
use super::{at, bad, down, good, play, silent, up};

pub(super) fn any_attributes() -> impl Strategy<Value = Attributes> {
    let witness = prop_oneof![
        Just(None),
        Just(Some(down())),
        Just(Some(up())),
        Just(Some(silent())),
    ];
    let looked = |cause: &Cause| !matches!(cause, Cause::Creating | Cause::Destroying);
    let causes: Vec<Cause> = Cause::ALL.iter().copied().filter(looked).collect();
    let failed =
        (proptest::sample::select(causes), witness).prop_map(|(cause, witness)| Attributes {
            witness,
            ..bad(cause)
        });
    prop_oneof![1 => Just(good()), 2 => failed]
}

fn any_history() -> impl Strategy<Value = Vec<Recorded>> {
    let one = (
        1_u32..8000,
        0_u8..3,
        0_u16..4,
        proptest::sample::select(State::ALL),
        any_attributes(),
    );
    proptest::collection::vec(one, 1..120).prop_map(|steps| {
        let mut now = DateTime::<Utc>::UNIX_EPOCH;
        let host = SubjectId::generate();
        steps
            .into_iter()
            .map(|(pause, worker, feelers, state, attributes)| {
                now += TimeDelta::milliseconds(pause.into());
                Recorded {
                    seen: Observation {
                        id: ObservationId::generate(),
                        created_at: now,
                        worker: format!("w{worker}"),
                        feelers,
                        attributes,
                    },
                    server: Some(Host {
                        id: host,
                        state,
                        since: at(0.0),
                    }),
                    leader: None,
                }
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn any_history_replayed_finds_the_same_decisions(
        history in any_history(),
        kind in proptest::sample::select(Kind::ALL),
        state in proptest::sample::select(State::ALL),
    ) {
        let subject = play(kind, state).subject();
        let rules = Rules::default();
        let first = replay(&subject, &history, &rules);
        // From the record alone: through JSON and back, as the database holds it.
        let recorded: Vec<Recorded> = history
            .iter()
            .map(|r| {
                let stored = serde_json::to_string(&r.seen.attributes).unwrap();
                let attributes = serde_json::from_str(&stored).unwrap();
                Recorded { seen: Observation { attributes, ..r.seen.clone() }, ..r.clone() }
            })
            .collect();
        prop_assert_eq!(&first, &replay(&subject, &recorded, &rules));

        let mut before = state;
        for (when, verdict) in &first {
            let index = history.iter().position(|r| r.seen.created_at == *when).unwrap();
            let newest = &history[index];
            prop_assert_eq!(verdict.because, newest.seen.id);
            // A resource whose server is not in service is not judged.
            let judged = newest.server.is_none_or(|host| host.state == State::Available);
            let distrust = match kind {
                Kind::Server => newest.seen.attributes.cause == Some(Cause::HostKeyChanged),
                Kind::Resource => {
                    judged && newest.seen.attributes.cause == Some(Cause::AnotherCluster)
                }
            };
            let legal = match (before, verdict.to) {
                (State::Available, State::Uncertain) => !distrust,
                // Only another host key, or another cluster, needs no doubt first.
                (State::Available, State::Unavailable) => distrust,
                (from, to) => matches!(
                    (from, to),
                    (State::Uncertain, State::Available | State::Unavailable)
                        | (State::Unavailable, State::Available)
                ),
            };
            prop_assert!(legal, "{} to {}", before, verdict.to);
            // Only a good observation says that something is well again.
            prop_assert_eq!(verdict.to == State::Available, newest.seen.attributes.service_available);
            // One alarm for a server and all that is on it.
            if verdict.opens.is_some() && kind == Kind::Resource {
                prop_assert_eq!(newest.server.map(|h| h.state), Some(State::Available));
            }
            before = verdict.to;
        }
    }
}
