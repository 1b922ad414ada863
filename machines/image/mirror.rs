//! Where this host's own apt gets its packages: images come from the same place.

use std::fs;
use std::path::Path;

/// Debian's own mirror, where the host's apt names none of Debian's.
const DEBIAN: &str = "http://deb.debian.org/debian";
const DEBIAN_KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const UBUNTU_KEYRING: &str = "/usr/share/keyrings/ubuntu-archive-keyring.gpg";

/// A distribution's packages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    pub mirror: String,
    pub keyring: String,
    /// The release to take instead of Debian's, on a host that has no keyring of Debian.
    pub own_release: Option<String>,
}

/// Looks at the host's apt.
pub fn of_host() -> Source {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let mut texts = vec![fs::read_to_string("/etc/apt/sources.list").unwrap_or_default()];
    if let Ok(folder) = fs::read_dir("/etc/apt/sources.list.d") {
        let mut files: Vec<_> = folder.flatten().map(|entry| entry.path()).collect();
        files.sort();
        texts.extend(files.iter().flat_map(fs::read_to_string));
    }
    choose(&release, &texts, Path::new(DEBIAN_KEYRING).exists())
}

fn choose(release: &str, sources: &[String], debian_keyring: bool) -> Source {
    let field = |name: &str| {
        release
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
            .map(|value| value.trim_matches('"').to_owned())
    };
    let codename = field("VERSION_CODENAME").unwrap_or_default();
    let on_debian = field("ID").is_some_and(|id| id == "debian");
    let own = sources.iter().find_map(|text| mirror_of(text, &codename));
    if on_debian || debian_keyring {
        Source {
            mirror: own.filter(|_| on_debian).unwrap_or_else(|| DEBIAN.into()),
            keyring: DEBIAN_KEYRING.into(),
            own_release: None,
        }
    } else {
        Source {
            mirror: own.unwrap_or_else(|| "http://archive.ubuntu.com/ubuntu".into()),
            keyring: UBUNTU_KEYRING.into(),
            own_release: Some(codename),
        }
    }
}

/// The address that a file of apt's, in either format, names for this release.
fn mirror_of(text: &str, codename: &str) -> Option<String> {
    one_line(text, codename).or_else(|| stanzas(text, codename))
}

fn one_line(text: &str, codename: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let rest = line.trim().strip_prefix("deb ")?.trim();
        let rest = match rest.strip_prefix('[') {
            Some(options) => options.split_once(']')?.1,
            None => rest,
        };
        let mut words = rest.split_whitespace();
        let (mirror, suite) = (words.next()?, words.next()?);
        let main = words.any(|component| component == "main");
        (main && suite == codename).then(|| mirror.trim_end_matches('/').to_owned())
    })
}

fn stanzas(text: &str, codename: &str) -> Option<String> {
    text.split("\n\n").find_map(|stanza| {
        let field = |name: &str| {
            stanza
                .lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
                .map(|value| value.split_whitespace())
        };
        let fits = field("Types")?.any(|kind| kind == "deb")
            && field("Suites")?.any(|suite| suite == codename)
            && field("Components")?.any(|component| component == "main");
        let mirror = field("URIs")?.next()?;
        fits.then(|| mirror.trim_end_matches('/').to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOOKWORM: &str = "ID=debian\nVERSION_CODENAME=bookworm\n";
    const NOBLE: &str = "ID=ubuntu\nVERSION_CODENAME=noble\n";

    fn mirror(release: &str, source: &str, debian_keyring: bool) -> String {
        choose(release, &[String::new(), source.into()], debian_keyring).mirror
    }

    #[test]
    fn the_hosts_own_mirror_is_used() {
        let stanza = "Types: deb\n# a comment\nURIs: http://mirror.test/debian/\n\
             Suites: bookworm bookworm-updates\nComponents: main\n\n\
             Types: deb\nURIs: http://mirror.test/security\n\
             Suites: bookworm-security\nComponents: main\n";
        assert_eq!(mirror(BOOKWORM, stanza, true), "http://mirror.test/debian");
        let line = "deb [signed-by=/k] http://a.test/x stable main\n\
             deb [arch=amd64 signed-by=/k] http://b.test/debian bookworm main contrib\n";
        assert_eq!(mirror(BOOKWORM, line, true), "http://b.test/debian");
        assert_eq!(mirror(BOOKWORM, "", true), DEBIAN);
    }

    #[test]
    fn ubuntu_makes_debians_where_it_has_the_keyring_and_its_own_elsewhere() {
        let line = "deb http://a.test/ubuntu noble main universe\n";
        assert_eq!(mirror(NOBLE, line, true), DEBIAN);
        let own = choose(NOBLE, &[line.into()], false);
        assert_eq!(own.mirror, "http://a.test/ubuntu");
        assert_eq!(own.own_release.as_deref(), Some("noble"));
    }
}
