//! Which addresses a daemon takes: a /22 of a range that nobody else uses.

use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The size of a daemon's own network: a thousand machines.
const PREFIX: u8 = 22;

/// A range of addresses, as in `198.18.0.0/15`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Range {
    base: Ipv4Addr,
    prefix: u8,
}

/// The range that RFC 2544 keeps for tests.
pub const FOR_TESTS: Range = Range {
    base: Ipv4Addr::new(198, 18, 0, 0),
    prefix: 15,
};

impl FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (base, prefix) = text.split_once('/').unwrap_or((text, "32"));
        let range = Self {
            base: base
                .parse()
                .map_err(|_| format!("{text} is no range of addresses"))?,
            prefix: prefix
                .parse()
                .ok()
                .filter(|prefix| *prefix <= 32)
                .ok_or_else(|| format!("{text} is no range of addresses"))?,
        };
        Ok(Self {
            base: Ipv4Addr::from_bits(range.base.to_bits() & range.mask()),
            ..range
        })
    }
}

impl TryFrom<String> for Range {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Range> for String {
    fn from(range: Range) -> Self {
        range.to_string()
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}/{}", self.base, self.prefix)
    }
}

impl Range {
    fn mask(self) -> u32 {
        u32::MAX
            .checked_shl(u32::from(32 - self.prefix))
            .unwrap_or(0)
    }

    pub fn prefix(self) -> u8 {
        self.prefix
    }

    pub fn contains(self, address: Ipv4Addr) -> bool {
        address.to_bits() & self.mask() == self.base.to_bits()
    }

    fn overlaps(self, other: Self) -> bool {
        self.contains(other.base) || other.contains(self.base)
    }

    /// The address with this number, if the range is that large.
    pub fn address(self, number: u16) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.base.to_bits() + u32::from(number))
    }

    /// The host's own address in a daemon's network.
    pub fn host(self) -> Ipv4Addr {
        self.address(1)
    }

    /// The numbers that machines may have.
    pub fn numbers(self) -> std::ops::Range<u16> {
        2..u16::try_from((1_u32 << (32 - self.prefix).min(15)) - 1).unwrap_or(u16::MAX)
    }

    /// The daemons' networks that the range holds, numbered.
    fn parts(self) -> impl Iterator<Item = (u16, Self)> {
        let count = 1_u32 << PREFIX.saturating_sub(self.prefix).min(12);
        let base = self.base.to_bits();
        (0..count).map(move |index| {
            let base = Ipv4Addr::from_bits(base + (index << (32 - PREFIX)));
            let part = Self {
                base,
                prefix: self.prefix.max(PREFIX),
            };
            (u16::try_from(index).expect("at most 4096"), part)
        })
    }

    /// The first network of the range that does not occur in what `ip address` and
    /// `ip route` say, with its number.
    pub fn first_free(self, said: &str) -> Option<(u16, Self)> {
        let taken = mentioned(said);
        self.parts()
            .find(|(_, part)| !taken.iter().any(|other| other.overlaps(*part)))
    }

    /// Whether anything on the host uses addresses of this network.
    pub fn is_free(self, said: &str) -> bool {
        !mentioned(said).iter().any(|other| other.overlaps(self))
    }
}

/// All addresses and ranges in a text but 0.0.0.0/0.
fn mentioned(said: &str) -> Vec<Range> {
    said.split_whitespace()
        .filter_map(|word| word.parse().ok())
        .filter(|range: &Range| range.prefix > 0)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_daemons_side_by_side_take_networks_of_their_own() {
        let (index, first) = FOR_TESTS
            .first_free("default via 192.0.2.1 dev eth0")
            .unwrap();
        assert_eq!((index, first.to_string().as_str()), (0, "198.18.0.0/22"));
        let said = "inet 198.18.0.1/22 scope global dm0\n198.18.7.3 dev x";
        let (index, second) = FOR_TESTS.first_free(said).unwrap();
        assert_eq!((index, second.host()), (2, "198.18.8.1".parse().unwrap()));
        assert!(!first.is_free(said) && second.is_free(said));
    }

    #[test]
    fn a_range_that_is_taken_whole_has_none() {
        assert_eq!(FOR_TESTS.first_free("198.18.0.0/15 dev vpn"), None);
        let last = FOR_TESTS.parts().last().unwrap();
        assert_eq!(
            (last.0, last.1.to_string().as_str()),
            (127, "198.19.252.0/22")
        );
    }

    #[test]
    fn a_small_range_is_one_network() {
        let small: Range = "10.9.8.77/24".parse().unwrap();
        let (index, part) = small.first_free("").unwrap();
        assert_eq!((index, part.to_string().as_str()), (0, "10.9.8.0/24"));
        assert_eq!(part.numbers(), 2..255);
    }
}
