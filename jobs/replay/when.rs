//! Moments as people write them.

use chrono::{DateTime, NaiveDate, NaiveDateTime, TimeDelta, Utc};

/// Reads `1h`, `2days`, `2026-01-31`, `2026-01-31T12:00`, `2026-01-31T12:00:00Z`.
pub(super) fn parse(text: &str) -> Result<DateTime<Utc>, String> {
    let text = text.trim();
    if let Ok(ago) = humantime::parse_duration(text) {
        let ago = TimeDelta::from_std(ago).ok();
        return ago
            .and_then(|ago| Utc::now().checked_sub_signed(ago))
            .ok_or_else(|| format!("`{text}` is too long ago"));
    }
    if let Ok(moment) = text.parse::<DateTime<Utc>>() {
        return Ok(moment);
    }
    let formats = [
        "%Y-%m-%dT%H:%M:%S",
        "%Y-%m-%d %H:%M:%S",
        "%Y-%m-%dT%H:%M",
        "%Y-%m-%d %H:%M",
    ];
    formats
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
        .or_else(|| {
            let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
            day.and_hms_opt(0, 0, 0)
        })
        .map(|moment| moment.and_utc())
        .ok_or_else(|| {
            format!(
                "`{text}` is neither a time ago, such as 1h, nor a moment, such as 2026-01-31T12:00"
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_people_write_them() {
        let at = |text| parse(text).unwrap().to_rfc3339();
        assert_eq!(at("2026-01-31"), "2026-01-31T00:00:00+00:00");
        assert_eq!(at("2026-01-31T12:30"), "2026-01-31T12:30:00+00:00");
        assert_eq!(at("2026-01-31 12:30:15"), "2026-01-31T12:30:15+00:00");
        assert_eq!(at("2026-01-31T12:30:15+02:00"), "2026-01-31T10:30:15+00:00");
        let hour = Utc::now() - parse("1h").unwrap();
        assert!((3599..=3601).contains(&hour.num_seconds()), "{hour}");
        for bad in ["", "soon", "2026-13-01", "-1h", "999999999999years"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
