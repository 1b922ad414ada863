//! What goes into an image. Whatever changes here, or in `setup.sh`, changes the image's
//! name, and so it is made anew.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::mirror::Source;

pub(super) const SETUP: &str = include_str!("setup.sh");

/// Whose machine it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Image {
    /// Debian 12 with PostgreSQL 15
    #[default]
    Bookworm,
    /// Debian 12 without PostgreSQL, which can be installed
    BookwormBare,
    /// Debian 13 with PostgreSQL 17, and 15 beside it
    Trixie,
}

impl Image {
    pub const ALL: [Self; 3] = [Self::Bookworm, Self::BookwormBare, Self::Trixie];

    pub fn name(self) -> &'static str {
        match self {
            Self::Bookworm => "bookworm",
            Self::BookwormBare => "bookworm-bare",
            Self::Trixie => "trixie",
        }
    }
}

/// On every machine: how it is reached, made (cloud-init), and what drover's scripts call.
const BASE: &str = "openssh-server sudo systemd-sysv dbus libpam-systemd procps iproute2 \
    cloud-init cloud-guest-utils e2fsprogs xfsprogs perl libjson-perl openssl \
    ca-certificates curl";
/// Login shells that read a command in ways of their own. One image has them, so that what
/// logs in can be tried with them.
const SHELLS: &str = "fish tcsh";

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Recipe {
    pub(super) image: Image,
    pub(super) release: String,
    pub(super) mirror: String,
    pub(super) keyring: String,
    pub(super) components: &'static str,
    pub(super) packages: String,
    pub(super) offered: &'static str,
    pub(super) other: &'static str,
    pub(super) other_packages: &'static str,
}

impl Recipe {
    pub(super) fn of(image: Image, source: &Source) -> Self {
        let ubuntu = source.own_release.is_some();
        let release = match image {
            Image::Bookworm | Image::BookwormBare => "bookworm",
            Image::Trixie => "trixie",
        };
        let postgres = match (image, ubuntu) {
            (Image::Bookworm, false) => "postgresql-15 postgresql-common",
            (Image::Trixie, false) => "postgresql-17 postgresql-common",
            (Image::Bookworm | Image::Trixie, true) => "postgresql postgresql-common",
            (Image::BookwormBare, _) => "",
        };
        // As Debian's own image for EC2, which has none of what drover installs there.
        let base = match image {
            Image::Bookworm => BASE.to_owned(),
            Image::Trixie => format!("{BASE} {SHELLS}"),
            Image::BookwormBare => BASE.replace("xfsprogs ", "").replace("libjson-perl ", ""),
        };
        let both = image == Image::Trixie && !ubuntu;
        Self {
            image,
            release: source.own_release.clone().unwrap_or_else(|| release.into()),
            mirror: source.mirror.clone(),
            keyring: source.keyring.clone(),
            components: if ubuntu { "main,universe" } else { "main" },
            packages: format!("{base} {postgres}"),
            offered: match image {
                Image::Bookworm | Image::Trixie => "",
                Image::BookwormBare => "postgresql postgresql-common libjson-perl xfsprogs",
            },
            other: if both { "bookworm" } else { "" },
            other_packages: if both { "postgresql-15" } else { "" },
        }
    }

    /// The image's folder: its name, and a digest of everything that it is made of.
    pub(super) fn folder(&self) -> String {
        let digest = Sha256::digest(format!("{self:?}{SETUP}"));
        let hex: String = digest
            .iter()
            .take(6)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!("{}-{hex}", self.image.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn debian(mirror: &str) -> Source {
        Source {
            mirror: mirror.into(),
            keyring: "/k".into(),
            own_release: None,
        }
    }

    #[test]
    fn whatever_changes_an_image_changes_its_folder() {
        let source = debian("http://a.test");
        let folder = |image, source| Recipe::of(image, source).folder();
        let one = folder(Image::Bookworm, &source);
        assert!(one.starts_with("bookworm-"), "{one}");
        assert_eq!(one, folder(Image::Bookworm, &source));
        let other = debian("http://b.test");
        assert_ne!(one, folder(Image::Bookworm, &other));
        // Else the cleaning of the one's old images would take the other's.
        assert_ne!(one.len(), folder(Image::BookwormBare, &source).len());
    }

    #[test]
    fn a_host_without_debians_keyring_makes_its_own_release() {
        let mut source = debian("http://a.test/ubuntu");
        source.own_release = Some("noble".into());
        let recipe = Recipe::of(Image::Trixie, &source);
        assert_eq!(recipe.release, "noble");
        assert_eq!(recipe.components, "main,universe");
        assert!(recipe.packages.ends_with("postgresql postgresql-common"));
        assert_eq!(recipe.other, "");
    }
}
