use super::*;

fn candidate(name: &str, lsn: u64, fits: bool) -> Candidate {
    Candidate {
        id: SubjectId::generate(),
        name: name.into(),
        lsn: Lsn(lsn),
        timeline: 1,
        fits,
        heard_s: None,
    }
}

#[test]
fn a_leader_that_a_follower_has_just_heard_from_lives() {
    let heard = |seconds| Candidate {
        heard_s: seconds,
        ..candidate("a", 1, true)
    };
    assert!(votes(vec![heard(Some(0.2))], &[]).witness().is_some());
    assert!(
        votes(vec![heard(Some(4.0)), heard(None)], &[])
            .witness()
            .is_none()
    );
}

fn votes(able: Vec<Candidate>, silent: &[&str]) -> Votes {
    Votes {
        able,
        silent: silent.iter().map(|one| (*one).to_owned()).collect(),
        unfit: vec![],
    }
}

#[test]
fn a_place_in_the_wal_is_read_and_written_as_postgresql_does() {
    let lsn: Lsn = "16/B374D848".parse().unwrap();
    assert_eq!(lsn, Lsn(0x16_B374_D848));
    assert_eq!(lsn.to_string(), "16/B374D848");
    assert!("16".parse::<Lsn>().is_err());
    assert!("x/1".parse::<Lsn>().is_err());
}

#[test]
fn the_one_with_most_leads_and_of_equals_one_of_the_intended_size() {
    let all = votes(vec![candidate("a", 5, true), candidate("b", 9, false)], &[]);
    assert_eq!(all.best().unwrap().name, "b");
    let all = votes(vec![candidate("a", 9, true), candidate("b", 9, false)], &[]);
    assert_eq!(all.best().unwrap().name, "a");
    let mut newer = candidate("c", 2, true);
    newer.timeline = 2;
    let all = votes(vec![candidate("a", 9, true), newer], &[]);
    assert_eq!(all.best().unwrap().name, "c", "the newest timeline first");
}

#[test]
fn what_is_missing_is_counted_from_the_furthest_that_anybody_knows() {
    let all = votes(vec![candidate("a", 5, true), candidate("b", 9, true)], &[]);
    let best = all.best().unwrap();
    assert_eq!(all.behind(best, None), 0);
    assert_eq!(all.behind(best, Some(Lsn(20))), 11);
    assert_eq!(all.behind(best, Some(Lsn(3))), 0);
    assert_eq!(all.behind(&all.able[0], None), 4);
}
