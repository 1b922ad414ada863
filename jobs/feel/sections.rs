//! The output of our scripts: sections, each behind a line `@@ name status`.

use drover::model::Cause;

/// Part of a server's answer that is not what such a server answers.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("section `{section}`: {why}")]
pub(crate) struct Malformed {
    section: &'static str,
    why: String,
}

impl Malformed {
    pub(crate) fn new(section: &'static str, why: impl Into<String>) -> Self {
        Self {
            section,
            why: why.into(),
        }
    }

    /// What it means for the feel.
    pub(crate) fn cause(&self) -> Cause {
        Cause::Protocol
    }
}

/// One section: the exit status of what wrote it, and its lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Section<'a> {
    pub(crate) name: &'static str,
    pub(crate) status: u8,
    pub(crate) text: &'a str,
}

impl<'a> Section<'a> {
    /// Its only line.
    pub(crate) fn line(&self) -> Result<&'a str, Malformed> {
        let mut lines = self.text.lines();
        match (lines.next(), lines.next()) {
            (Some(line), None) => Ok(line.trim()),
            _ => Err(self.malformed("expected one line")),
        }
    }

    pub(crate) fn malformed(&self, why: impl Into<String>) -> Malformed {
        Malformed::new(self.name, why)
    }
}

/// Takes the sections in the order in which the script writes them; what stands
/// before the first (a talkative login shell) is skipped.
pub(crate) struct Sections<'a> {
    rest: &'a str,
}

const MARK: &str = "@@ ";

impl<'a> Sections<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let start = match text.starts_with(MARK) {
            true => 0,
            false => text.find("\n@@ ").map_or(text.len(), |at| at + 1),
        };
        Self {
            rest: &text[start..],
        }
    }

    /// The next section, which must have this name.
    pub(crate) fn next(&mut self, name: &'static str) -> Result<Section<'a>, Malformed> {
        let (head, body) = self.rest.split_once('\n').unwrap_or((self.rest, ""));
        let mut words = head.strip_prefix(MARK).unwrap_or_default().split(' ');
        if words.next() != Some(name) {
            return Err(Malformed::new(name, "is missing"));
        }
        let status = words.next().and_then(|w| w.trim().parse().ok());
        let status = status.ok_or_else(|| Malformed::new(name, "has no exit status"))?;
        let (text, rest) = if body.starts_with(MARK) {
            ("", body)
        } else {
            match body.find("\n@@ ") {
                Some(at) => (&body[..at], &body[at + 1..]),
                None => (body, ""),
            }
        };
        self.rest = rest;
        Ok(Section { name, status, text })
    }
}

/// A text of a server, made fit for the record: no control characters (a NUL
/// would be refused by the database), and no more than `limit` characters.
pub(crate) fn clean(text: &str, limit: usize) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .take(limit)
        .collect::<String>()
        .trim()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_taken_in_order() {
        let mut s = Sections::new("Welcome!\n@@ a 0\none\ntwo\n@@ b 3\n@@ c 0\nx\n");
        assert_eq!(
            s.next("a"),
            Ok(Section {
                name: "a",
                status: 0,
                text: "one\ntwo"
            })
        );
        assert_eq!(
            s.next("b"),
            Ok(Section {
                name: "b",
                status: 3,
                text: ""
            })
        );
        assert_eq!(s.next("c").unwrap().line(), Ok("x"));
        assert_eq!(
            s.next("d").unwrap_err().to_string(),
            "section `d`: is missing"
        );
    }

    #[test]
    fn what_is_not_ours_is_told() {
        assert!(Sections::new("").next("a").is_err());
        assert!(Sections::new("@@ b 0\n").next("a").is_err());
        assert!(Sections::new("@@ a x\n").next("a").is_err());
        assert!(
            Sections::new("@@ a 0\n1\n2\n")
                .next("a")
                .unwrap()
                .line()
                .is_err()
        );
    }

    #[test]
    fn cleaned_text_has_no_control_characters_and_an_end() {
        assert_eq!(clean("a\0b\u{1b}[31mc\n", 100), "ab[31mc");
        assert_eq!(clean(&"ä".repeat(500), 3), "äää");
    }
}
