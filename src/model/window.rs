//! Maintenance windows: when a resource may be disturbed.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Datelike, Days, Duration, NaiveTime, TimeZone, Utc, Weekday};
use chrono_tz::Tz;

use super::text_column;

/// How long a window is open.
pub const WINDOW_HOURS: i64 = 4;

/// Four hours of each week, by the clocks of a time zone: `sun 03:00 Europe/Berlin`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    day: Weekday,
    from: NaiveTime,
    zone: Tz,
}

impl Default for Window {
    /// Sunday, three o'clock, UTC.
    fn default() -> Self {
        Self {
            day: Weekday::Sun,
            from: NaiveTime::from_hms_opt(3, 0, 0).unwrap_or_default(),
            zone: Tz::UTC,
        }
    }
}

/// Why a text is no window.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "must be a day, a time and a time zone, such as `sun 03:00 Europe/Berlin` \
     (mon to sun, 00:00 to 23:59, a name of the tz database or UTC)"
)]
pub struct NoWindow;

impl FromStr for Window {
    type Err = NoWindow;

    fn from_str(text: &str) -> Result<Self, NoWindow> {
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let [day, from, zone] = words.as_slice() else {
            return Err(NoWindow);
        };
        let day = DAYS.iter().find(|(_, name)| name.eq_ignore_ascii_case(day));
        let (day, _) = day.ok_or(NoWindow)?;
        let digits = from.len() == 5 && from.is_ascii();
        let from = digits
            .then(|| NaiveTime::parse_from_str(from, "%H:%M").ok())
            .flatten()
            .ok_or(NoWindow)?;
        Ok(Self {
            day: *day,
            from,
            zone: zone.parse().map_err(|_| NoWindow)?,
        })
    }
}

const DAYS: [(Weekday, &str); 7] = [
    (Weekday::Mon, "mon"),
    (Weekday::Tue, "tue"),
    (Weekday::Wed, "wed"),
    (Weekday::Thu, "thu"),
    (Weekday::Fri, "fri"),
    (Weekday::Sat, "sat"),
    (Weekday::Sun, "sun"),
];

text_column!(Window);

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let day = DAYS.iter().find(|(day, _)| *day == self.day);
        let day = day.map_or("", |(_, name)| name);
        write!(f, "{day} {} {}", self.from.format("%H:%M"), self.zone)
    }
}

impl Window {
    /// The window that is open at this time, or else the next one: from when till
    /// when.
    pub fn next(&self, now: DateTime<Utc>) -> (DateTime<Utc>, DateTime<Utc>) {
        let today = now.with_timezone(&self.zone).date_naive();
        // The one of last week may still be open; that of next week is the latest
        // that can be meant.
        let found = (0..=15_u64)
            .filter_map(|n| {
                today
                    .checked_sub_days(Days::new(7))?
                    .checked_add_days(Days::new(n))
            })
            .filter(|date| date.weekday() == self.day)
            .map(|date| self.begins(date.and_time(self.from)))
            .map(|begins| (begins, begins + Duration::hours(WINDOW_HOURS)))
            .find(|(_, ends)| *ends > now);
        found.unwrap_or((now, now + Duration::hours(WINDOW_HOURS)))
    }

    /// When clocks there show this; where they skip it in spring, an hour later.
    fn begins(&self, local: chrono::NaiveDateTime) -> DateTime<Utc> {
        let at = self.zone.from_local_datetime(&local).earliest();
        let at = at.or_else(|| {
            let later = local + Duration::hours(1);
            self.zone.from_local_datetime(&later).earliest()
        });
        at.map_or_else(
            || Utc.from_utc_datetime(&local),
            |at| at.with_timezone(&Utc),
        )
    }

    /// Whether it is open.
    pub fn is_open(&self, now: DateTime<Utc>) -> bool {
        self.next(now).0 <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn a_window_reads_back_and_nothing_else_is_one() {
        for text in [
            "sun 03:00 Europe/Berlin",
            "mon 23:59 UTC",
            "fri 00:00 America/New_York",
        ] {
            assert_eq!(text.parse::<Window>().unwrap().to_string(), text);
        }
        for bad in [
            "",
            "sun",
            "sun 3:00 UTC",
            "sun 24:00 UTC",
            "day 03:00 UTC",
            "sun 03:00 Mars/Base",
            "sun 03:00 UTC x",
        ] {
            assert_eq!(bad.parse::<Window>(), Err(NoWindow), "{bad}");
        }
    }

    #[test]
    fn the_next_window_is_found_across_midnight_weeks_and_summer_time() {
        let berlin: Window = "sun 03:00 Europe/Berlin".parse().unwrap();
        // A Wednesday in winter, CET.
        assert_eq!(
            berlin.next(at("2026-01-14T12:00:00Z")).0,
            at("2026-01-18T02:00:00Z")
        );
        // A Sunday in summer, CEST, in the middle of it.
        assert!(berlin.is_open(at("2026-07-19T04:59:00Z")));
        assert!(!berlin.is_open(at("2026-07-19T05:00:00Z")));
        // It spans midnight.
        let late: Window = "sat 22:00 UTC".parse().unwrap();
        assert!(late.is_open(at("2026-11-22T01:00:00Z")));
        assert_eq!(
            late.next(at("2026-11-22T02:00:00Z")).0,
            at("2026-11-28T22:00:00Z")
        );
        // The hour that is skipped in spring: 02:30 is not; the window begins at 03:30.
        let skipped: Window = "sun 02:30 Europe/Berlin".parse().unwrap();
        assert_eq!(
            skipped.next(at("2026-03-28T12:00:00Z")).0,
            at("2026-03-29T01:30:00Z")
        );
    }
}
