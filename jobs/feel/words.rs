//! The words that a server has obeyed: `KEY DEPLOYMENT EPOCH BY LEASES`, a line each.

use drover::model::{Each, ObeyedWord};

use super::sections::{Section, clean};

/// More clusters than this has no server of drover's.
const MOST: usize = 1000;
/// More than the longest field has.
const FIELD: usize = 200;

/// `None` where they could not be read. What is no word (`forgotten`, or made up) is left out.
pub(super) fn parse(section: &Section<'_>) -> Option<Each<ObeyedWord>> {
    (section.status == 0).then(|| {
        let lines = section.text.lines().take(MOST);
        Each(lines.filter_map(word).collect())
    })
}

fn word(line: &str) -> Option<ObeyedWord> {
    let fields: Vec<&str> = line.split(' ').collect();
    let [key, deployment, epoch, by, leases] = fields[..] else {
        return None;
    };
    let text = |field: &str| Some(clean(field, FIELD));
    let is_number = !epoch.is_empty() && epoch.bytes().all(|b| b.is_ascii_digit());
    Some(ObeyedWord {
        key: text(key),
        deployment: text(deployment),
        epoch: Some(epoch.parse().ok().filter(|_| is_number)?),
        raised_by: text(by),
        leases: Some(leases.split(',').take(2).filter_map(text).collect()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(status: u8, text: &str) -> Option<Vec<ObeyedWord>> {
        let name = "words";
        parse(&Section { name, status, text }).map(|each| each.0)
    }

    #[test]
    fn what_is_a_word_is_read_and_what_is_none_is_left_out() {
        let text = "machine 01JD 0 - 7:ab\n\
                    74-15-main 01JD 2 01JO 3:cd,7:ab\n\
                    75-15-main forgotten\n\
                    76-15-main 01JD -2 - 3:a\n77-15-main 01JD x - 3:a\n\nmachine\n";
        let words = parsed(0, text).unwrap();
        assert_eq!(words.len(), 2, "{words:?}");
        assert_eq!(words[0].epoch, Some(0));
        assert_eq!(words[1].key.as_deref(), Some("74-15-main"));
        assert_eq!(words[1].raised_by.as_deref(), Some("01JO"));
        let leases = words[1].leases.as_deref();
        assert_eq!(leases, Some(&["3:cd".to_owned(), "7:ab".to_owned()][..]));
        assert_eq!(parsed(1, text), None);
        assert_eq!(parsed(0, ""), Some(vec![]));
    }
}
