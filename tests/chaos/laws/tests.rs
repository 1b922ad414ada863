use super::*;

/// Written by `by` on `timeline`, within these seconds.
fn write(n: u64, (sent, acked): (u64, u64), by: &str, timeline: u32) -> Write {
    Write {
        n,
        sent: Duration::from_secs(sent),
        acked: Duration::from_secs(acked),
        by: by.into(),
        timeline,
        warned: false,
    }
}

fn there(ns: &[u64]) -> HashSet<u64> {
    ns.iter().copied().collect()
}

fn addresses(all: &[&str]) -> Vec<String> {
    all.iter().map(|one| (*one).to_owned()).collect()
}

#[test]
fn two_nodes_may_not_share_a_timeline() {
    let mut writes = vec![write(1, (0, 1), "a", 1), write(2, (2, 3), "b", 2)];
    one_node_on_a_timeline(&writes).unwrap();
    // A follower that was started as no standby: nobody promoted it.
    writes.push(write(3, (4, 5), "c", 2));
    let broken = one_node_on_a_timeline(&writes).unwrap_err();
    assert!(broken.evidence.contains("write 2 sent"), "{broken:?}");
    assert!(broken.evidence.contains("write 3 sent"), "{broken:?}");
}

#[test]
fn an_old_leader_may_not_accept_what_was_sent_after_a_newer_ones_word() {
    // Both are under way at the same time: the old one may have been first.
    let mut writes = vec![write(1, (0, 4), "a", 1), write(2, (2, 3), "b", 2)];
    no_write_behind_a_newer_leader(&writes).unwrap();
    writes.push(write(3, (4, 5), "a", 1));
    let broken = no_write_behind_a_newer_leader(&writes).unwrap_err();
    assert!(
        broken.evidence.ends_with("by a on timeline 1"),
        "{broken:?}"
    );
    // It may, once it leads again.
    writes[2].timeline = 3;
    no_write_behind_a_newer_leader(&writes).unwrap();
}

#[test]
fn who_accepts_writes_has_to_lead_by_the_record() {
    let writes = [
        write(1, (0, 1), "a", 1),
        write(2, (2, 3), "b", 2),
        write(3, (4, 5), "a", 3),
    ];
    as_the_record_has_it(&writes, &addresses(&["a", "b", "a"])).unwrap();
    as_the_record_has_it(&writes, &addresses(&["a", "c", "b", "a"])).unwrap();
    for reigns in [&["a", "b"][..], &["b", "a"], &["a", "c", "a"]] {
        as_the_record_has_it(&writes, &addresses(reigns)).unwrap_err();
    }
    // At the same time, either order will do.
    let both = [write(1, (0, 4), "b", 2), write(2, (1, 3), "a", 1)];
    as_the_record_has_it(&both, &addresses(&["a", "b"])).unwrap();
}

#[test]
fn with_sync_only_what_came_with_a_warning_may_be_lost() {
    let mut writes = vec![write(1, (0, 1), "a", 1), write(2, (1, 2), "a", 1)];
    nothing_is_lost(&writes, &there(&[1, 2])).unwrap();
    nothing_is_lost(&writes, &there(&[1])).unwrap_err();
    writes[1].warned = true;
    nothing_is_lost(&writes, &there(&[1])).unwrap();
}

#[test]
fn with_async_what_is_lost_has_to_be_said() {
    let writes = [write(1, (0, 1), "a", 1), write(2, (1, 2), "a", 1)];
    let loss = |from: &str, timeline, said| Loss {
        from: from.into(),
        timeline: Some(timeline),
        said,
    };
    let judged = |losses: &[Loss]| lost_as_said(&writes, &there(&[1]), losses);
    assert_eq!(judged(&[loss("a", 2, Said::Bytes(400))]), Ok((1, 0)));
    assert_eq!(judged(&[loss("a", 2, Said::Uncounted)]), Ok((0, 1)));
    // Nobody failed over, from another node, or before it was written.
    judged(&[]).unwrap_err();
    judged(&[loss("b", 2, Said::Bytes(400))]).unwrap_err();
    judged(&[loss("a", 1, Said::Bytes(400))]).unwrap_err();
    // More is lost than was said.
    judged(&[loss("a", 2, Said::Nothing)]).unwrap_err();
    judged(&[loss("a", 2, Said::Bytes(50))]).unwrap_err();
    // It is the first failover behind it that counts.
    let twice = [loss("a", 2, Said::Nothing), loss("a", 4, Said::Bytes(400))];
    judged(&twice).unwrap_err();
    assert_eq!(lost_as_said(&writes, &there(&[1, 2]), &[]), Ok((0, 0)));
}
