//! Why drover alone does not go on with a failover.

use serde::{Deserialize, Serialize};

/// What it needs a person's word for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub(super) enum Refusal {
    /// A follower hears from the leader: it lives.
    Heard,
    /// More would be lost than may be, or nobody knows how much.
    Lacks {
        /// How much, as far as it is known.
        bytes: Option<u64>,
    },
    /// With `sync`: an acknowledged commit may be where nobody could ask, or at one who cannot
    /// lead.
    Unasked,
    /// Nothing proves that the leader accepts no writes.
    Unfenced,
}

/// A person's word: it is for the one refusal that they were told of.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Answer {
    refusal: Refusal,
    /// `ann: I have pulled its plug`.
    word: String,
}

impl Refusal {
    /// The word of the person who has answered this, if one has. Who has agreed to lose so
    /// much has not agreed to lose more.
    pub(super) fn answered(self, answers: &[Answer]) -> Option<String> {
        let given = answers
            .iter()
            .rev()
            .find(|given| match (given.refusal, self) {
                (Self::Lacks { bytes: None }, Self::Lacks { .. }) => true,
                (Self::Lacks { bytes: Some(told) }, Self::Lacks { bytes: Some(now) }) => {
                    now <= told
                }
                (told, now) => told == now,
            });
        given.map(|given| given.word.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_answers_the_one_refusal_that_it_was_given_for() {
        let lacks = |bytes| Refusal::Lacks { bytes };
        let all = [
            Refusal::Heard,
            lacks(None),
            lacks(Some(10)),
            Refusal::Unasked,
            Refusal::Unfenced,
        ];
        for told in all {
            let answer = Answer {
                refusal: told,
                word: "ann: so be it".into(),
            };
            for now in all {
                let expected = told == now || told == lacks(None) && now == lacks(Some(10));
                let answers = std::slice::from_ref(&answer);
                let answered = now.answered(answers).is_some();
                assert_eq!(answered, expected, "{told:?}, then {now:?}");
            }
        }
        let ten = [Answer {
            refusal: lacks(Some(10)),
            word: "ann".into(),
        }];
        assert!(lacks(Some(9)).answered(&ten).is_some());
        assert!(lacks(Some(11)).answered(&ten).is_none());
        assert!(lacks(Some(9)).answered(&[]).is_none());
    }
}
