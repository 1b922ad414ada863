//! Who leads, by the nodes' own word.

use crate::model::SubjectId;

/// What was seen of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSeen {
    /// Which.
    pub id: SubjectId,
    /// Its name, by the record.
    pub name: String,
    /// Whether it takes writes; unknown where it was not seen in service lately.
    pub takes_writes: Option<bool>,
    /// The newest epoch that it has obeyed a word of.
    pub epoch: Option<i64>,
    /// Its epoch by the record.
    pub recorded: i64,
    /// The timeline that it was seen on.
    pub timeline: Option<u32>,
}

/// Who leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leads {
    /// Who leads by the record, or nobody was seen that says otherwise.
    AsRecorded,
    /// This one.
    Another(SubjectId),
    /// The nodes do not say it: a person has to. Why.
    NotKnown(String),
}

/// Who leads of these. A person's word goes before all that was seen.
pub fn who_leads(recorded: SubjectId, nodes: &[NodeSeen], told: &[SubjectId]) -> Leads {
    let verdict = |id: SubjectId| match id == recorded {
        true => Leads::AsRecorded,
        false => Leads::Another(id),
    };
    if let Some(node) = nodes.iter().find(|node| told.contains(&node.id)) {
        return verdict(node.id);
    }
    // The newest epoch that any of them has obeyed is borne by who was made leader last.
    let newest = nodes
        .iter()
        .filter_map(|node| node.epoch.filter(|of| *of > node.recorded))
        .max();
    let writers: Vec<&NodeSeen> = nodes
        .iter()
        .filter(|node| node.takes_writes == Some(true))
        .collect();
    let fit: Vec<&&NodeSeen> = writers
        .iter()
        .filter(|node| newest.is_none() || node.epoch == newest)
        .collect();
    match (&fit[..], newest) {
        ([one], _) => verdict(one.id),
        ([], None) => Leads::AsRecorded,
        ([], Some(newest)) => Leads::NotKnown(format!(
            "epoch {newest} is known, and nobody who knows it is seen to take writes"
        )),
        ([_, _, ..], _) => {
            let names: Vec<&str> = fit.iter().map(|node| &*node.name).collect();
            Leads::NotKnown(format!("{} take writes", names.join(" and ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: SubjectId, takes_writes: Option<bool>, epoch: Option<i64>) -> NodeSeen {
        NodeSeen {
            id,
            name: "n".into(),
            takes_writes,
            epoch,
            recorded: 1,
            timeline: None,
        }
    }

    #[test]
    fn the_nodes_say_who_leads_and_where_they_do_not_a_person_does() {
        let (a, b, c) = (
            SubjectId::generate(),
            SubjectId::generate(),
            SubjectId::generate(),
        );
        let (yes, no) = (Some(true), Some(false));
        let leads = |nodes: &[NodeSeen]| who_leads(a, nodes, &[]);
        let as_before = [node(a, yes, Some(1)), node(b, no, Some(1))];
        assert_eq!(leads(&as_before), Leads::AsRecorded);
        assert_eq!(who_leads(a, &as_before, &[b]), Leads::Another(b));
        // Another one was promoted, whatever has become of who led.
        for old in [None, no, yes] {
            let nodes = [node(a, old, Some(1)), node(b, yes, Some(2))];
            assert_eq!(leads(&nodes), Leads::Another(b), "{old:?}");
        }
        // Nobody is seen: the record is as good as any.
        assert_eq!(
            leads(&[node(a, None, None), node(b, no, Some(1))]),
            Leads::AsRecorded
        );
        // The one that was promoted is away, and others know that there was one.
        let away = [
            node(a, yes, Some(1)),
            node(b, None, None),
            node(c, no, Some(2)),
        ];
        assert!(matches!(leads(&away), Leads::NotKnown(_)));
        assert_eq!(who_leads(a, &away, &[b]), Leads::Another(b));
        // Nobody knows which of two.
        let two = [node(a, yes, Some(1)), node(b, yes, None)];
        assert!(matches!(leads(&two), Leads::NotKnown(_)));
        let two = [node(a, yes, Some(3)), node(b, yes, Some(3))];
        assert!(matches!(leads(&two), Leads::NotKnown(_)));
    }
}
