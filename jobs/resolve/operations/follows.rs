//! What comes of it that a resource follows another.

use drover::model::{Kind, PublicId, Resource, SubjectId};

/// What a resource is by the record, as scripts that start its cluster are told.
pub(super) fn role(resource: &Resource) -> &'static str {
    match resource.leader {
        Some(_) => "follower",
        None => "leader",
    }
}

/// `None`: it leads. It is a follower by the record, or by what its cluster says.
pub(super) fn follows(leader: Option<SubjectId>, in_recovery: bool) -> Option<String> {
    let leader = match leader {
        Some(leader) => PublicId::new(Kind::Resource, leader).to_string(),
        None if in_recovery => "another".into(),
        None => return None,
    };
    Some(format!("it follows {leader}: its leader has to be mended"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_follower_is_told_by_the_record_or_by_its_cluster() {
        assert_eq!(follows(None, false), None);
        let says = follows(None, true).unwrap();
        assert_eq!(says, "it follows another: its leader has to be mended");
        let leader = SubjectId::generate();
        for in_recovery in [false, true] {
            let says = follows(Some(leader), in_recovery).unwrap();
            assert_eq!(
                says,
                format!("it follows db_{leader}: its leader has to be mended")
            );
        }
    }
}
