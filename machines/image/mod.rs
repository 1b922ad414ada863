//! The disks that machines start from: made once by debootstrap, read-only afterwards.

mod mirror;
mod recipe;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

pub use self::recipe::Image;
use self::recipe::{Recipe, SETUP};
use crate::record;
use crate::run::tool;

/// What one image may take to be made, on a slow mirror.
const MAKING: Duration = Duration::from_secs(20 * 60);

/// An image as it lies in the cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    pub image: Image,
    pub path: Option<PathBuf>,
}

/// The folder that holds images.
#[derive(Clone, Debug)]
pub struct Cache {
    folder: PathBuf,
}

impl Cache {
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
        }
    }

    /// Each image, with its root if it is made.
    pub fn list(&self) -> Vec<Made> {
        let source = mirror::of_host();
        let made = |image| {
            let path = self.folder.join(Recipe::of(image, &source).folder());
            Made {
                image,
                path: path.exists().then_some(path),
            }
        };
        Image::ALL.map(made).into()
    }

    /// The root of an image, which is made if it is not there: some two minutes.
    /// Whoever asks meanwhile, from whichever process, waits.
    ///
    /// # Errors
    /// If it cannot be made; the message ends with what debootstrap or apt said.
    pub async fn ensure(&self, image: Image) -> anyhow::Result<PathBuf> {
        let recipe = Recipe::of(image, &mirror::of_host());
        let root = self.folder.join(recipe.folder());
        if root.exists() {
            return Ok(root);
        }
        // An image has programs that make root of whoever runs them.
        record::private_folder(&self.folder)?;
        let lock = self.lock().await?;
        if !root.exists() {
            self.remove_unused(&recipe)?;
            self.make(&recipe, &root)
                .await
                .with_context(|| format!("image {} could not be made", image.name()))?;
        }
        drop(lock);
        Ok(root)
    }

    async fn lock(&self) -> anyhow::Result<Flock<File>> {
        let path = self.folder.join("lock");
        let file = File::create(&path).with_context(|| path.display().to_string())?;
        tokio::task::spawn_blocking(|| {
            Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| anyhow!(errno))
        })
        .await?
    }

    async fn make(&self, recipe: &Recipe, root: &Path) -> anyhow::Result<()> {
        let begun = std::time::Instant::now();
        tracing::info!(
            image = recipe.image.name(),
            mirror = recipe.mirror,
            "making an image"
        );
        let packages = self.folder.join("packages");
        let new = self.folder.join(".making");
        remove(&new)?;
        fs::create_dir_all(&packages)?;
        let components = format!("--components={}", recipe.components);
        let keyring = format!("--keyring={}", recipe.keyring);
        let log = new.join("debootstrap/debootstrap.log");
        tool("debootstrap")
            .args(["--variant=minbase", &components, &keyring])
            .arg_path("--cache-dir=", &packages)
            .args([&recipe.release, &new.display().to_string(), &recipe.mirror])
            .env("http_proxy", &proxy().await)
            .limit(MAKING)
            .run()
            .await
            .with_context(|| last_lines(&log))?;
        // In mount and process namespaces of its own, so that nothing is left mounted or
        // running, however this ends.
        tool("unshare")
            .line("--mount --pid --fork --kill-child --propagation private sh -euc")
            .args([
                "mount --bind \"$1\" \"$2/var/cache/apt/archives\"\n\
                 mount -t proc proc \"$2/proc\"\n\
                 exec chroot \"$2\" /bin/sh -s",
                "sh",
            ])
            .args([&packages, &new])
            .env("PACKAGES", &recipe.packages)
            .env("OFFERED", recipe.offered)
            .env("OTHER", recipe.other)
            .env("OTHER_PACKAGES", recipe.other_packages)
            .env("http_proxy", &proxy().await)
            .input(SETUP)
            .limit(MAKING)
            .run()
            .await?;
        remove(&new.join("var/lib/apt/lists/partial"))?;
        // What is renamed is whole, even after a power cut.
        tool("sync")
            .args(["-f"])
            .args([&new])
            .limit(MAKING)
            .run()
            .await?;
        fs::rename(&new, root)?;
        tracing::info!(
            image = recipe.image.name(),
            seconds = begun.elapsed().as_secs(),
            "made an image"
        );
        Ok(())
    }

    /// Notes that the machine in this folder uses an image.
    ///
    /// # Errors
    /// If the note cannot be written.
    pub fn note_user(&self, root: &Path, machine: &Path) -> anyhow::Result<()> {
        let users = users_of(root);
        fs::create_dir_all(&users)?;
        let name = machine.display().to_string().replace('/', "+");
        match std::os::unix::fs::symlink(machine, users.join(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Removes images of the same name and an older recipe, but those that a machine uses.
    fn remove_unused(&self, recipe: &Recipe) -> anyhow::Result<()> {
        let current = recipe.folder();
        let prefix = format!("{}-", recipe.image.name());
        for entry in fs::read_dir(&self.folder)?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let old = name.starts_with(&prefix) && name.len() == current.len() && name != current;
            if old && !has_users(&entry.path()) {
                tracing::info!(name, "removing an old image");
                remove(&entry.path())?;
                remove(&users_of(&entry.path()))?;
            }
        }
        Ok(())
    }
}

fn users_of(root: &Path) -> PathBuf {
    root.with_extension("users")
}

/// A note whose machine is gone leads nowhere, and counts no more.
fn has_users(root: &Path) -> bool {
    fs::read_dir(users_of(root)).is_ok_and(|users| users.flatten().any(|user| user.path().exists()))
}

fn remove(path: &Path) -> std::io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The proxy that the host's apt goes through, or that of the environment.
async fn proxy() -> String {
    let own = std::env::var("http_proxy").unwrap_or_default();
    let shell = "eval \"$(apt-config shell p Acquire::http::Proxy)\"; printf %s \"${p:-}\"";
    match tool("sh").args(["-c", shell]).run().await {
        Ok(found) if !found.is_empty() && found != "DIRECT" => found,
        _ => own,
    }
}

fn last_lines(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    let from = lines.len().saturating_sub(5);
    format!(
        "the end of debootstrap's log: {}",
        lines[from..].join(" / ")
    )
}
