//! Amazon EC2: where drover makes servers, out of what, and how they are reached.
//!
//! Credentials are no setting of drover's: the AWS SDK finds them itself, in its own
//! variables (`AWS_*`), files and services.

use super::{ConfigError, Env};

/// Debian's own images, as its wiki names them.
const IMAGE: &str = "136693071363/debian-12-amd64-*";

/// EC2 as `drover-worker` uses it; plain data, without the SDK's types.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ec2Config {
    /// `DROVER_DEPLOYMENT`: what marks as this deployment's all that it makes.
    pub deployment: String,
    /// `DROVER_EC2_REGIONS`: at least one; the first is that of servers that were
    /// adopted with an instance's id.
    pub regions: Vec<String>,
    /// `DROVER_EC2_IMAGE`.
    pub image: Ec2Image,
    /// `DROVER_EC2_SUBNETS`, of all regions; empty: the zones' default ones.
    pub subnets: Vec<String>,
    /// `DROVER_EC2_SECURITY_GROUPS`, of all regions; empty: the network's default one.
    pub security_groups: Vec<String>,
    /// `DROVER_EC2_ADDRESS`.
    pub address: Ec2Address,
    /// `DROVER_EC2_SSH_PORT`: where the sshd of what drover makes listens.
    pub ssh_port: u16,
    /// `DROVER_EC2_USER`: whom drover makes on its instances, and logs in as.
    pub user: String,
    /// `DROVER_EC2_INSTANCE_PROFILE`: its name.
    pub instance_profile: Option<String>,
}

/// What instances boot from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ec2Image {
    /// This one: `ami-…`.
    Id(String),
    /// The newest of this owner whose name fits a pattern with `*` and `?`.
    Newest {
        /// An account's number, or `amazon`, `self`, `aws-marketplace`.
        owner: String,
        /// The name's pattern.
        name: String,
    },
}

/// Which of its addresses an instance is reached at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ec2Address {
    /// The one within its network.
    #[default]
    Private,
    /// The one that everybody can reach; asked for when an instance is made.
    Public,
}

impl Ec2Config {
    /// Reads it; `None` without a region.
    ///
    /// # Errors
    /// Names what is wrong.
    pub fn from_env(env: Env<'_>) -> Result<Option<Self>, ConfigError> {
        let deployment = deployment(env)?;
        let regions = match env.get("DROVER_EC2_REGIONS") {
            Some(_) => words(env, "DROVER_EC2_REGIONS", "")?,
            // Where the SDK's own tools would go.
            None => env
                .get("AWS_REGION")
                .or_else(|| env.get("AWS_DEFAULT_REGION"))
                .map(|region| region.trim().to_owned())
                .into_iter()
                .collect(),
        };
        let config = Self {
            deployment,
            regions,
            image: image(env)?,
            subnets: words(env, "DROVER_EC2_SUBNETS", "subnet-")?,
            security_groups: words(env, "DROVER_EC2_SECURITY_GROUPS", "sg-")?,
            address: match env.get("DROVER_EC2_ADDRESS").as_deref().map(str::trim) {
                None | Some("private") => Ec2Address::Private,
                Some("public") => Ec2Address::Public,
                Some(_) => {
                    return Err(ConfigError(
                        "DROVER_EC2_ADDRESS must be private or public".into(),
                    ));
                }
            },
            ssh_port: ssh_port(env)?,
            user: user(env)?,
            instance_profile: env
                .get("DROVER_EC2_INSTANCE_PROFILE")
                .map(|name| name.trim().to_owned()),
        };
        Ok((!config.regions.is_empty()).then_some(config))
    }
}

/// `DROVER_DEPLOYMENT` (default `drover`).
fn deployment(env: Env<'_>) -> Result<String, ConfigError> {
    let name = env.get("DROVER_DEPLOYMENT");
    let name = name.as_deref().map_or("drover", str::trim);
    let fit = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    match fit && (1..=40).contains(&name.len()) {
        true => Ok(name.to_owned()),
        false => Err(ConfigError(
            "DROVER_DEPLOYMENT must be 1 to 40 letters, digits and dashes".into(),
        )),
    }
}

/// `DROVER_EC2_USER` (default `drover`).
fn user(env: Env<'_>) -> Result<String, ConfigError> {
    let name = env.get("DROVER_EC2_USER");
    let name = name.as_deref().map_or("drover", str::trim);
    let fit = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    let first = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    match first && name.chars().all(fit) && name.len() <= 32 {
        true => Ok(name.to_owned()),
        false => Err(ConfigError(
            "DROVER_EC2_USER must be a login: up to 32 lower-case letters, digits, - and _".into(),
        )),
    }
}

fn ssh_port(env: Env<'_>) -> Result<u16, ConfigError> {
    let port = env.number("DROVER_EC2_SSH_PORT", 22, 1, 65535)?;
    u16::try_from(port).map_err(|e| ConfigError(format!("DROVER_EC2_SSH_PORT: {e}")))
}

fn image(env: Env<'_>) -> Result<Ec2Image, ConfigError> {
    let text = env.get("DROVER_EC2_IMAGE").unwrap_or_else(|| IMAGE.into());
    let text = text.trim();
    match text.split_once('/') {
        None if text.starts_with("ami-") => Ok(Ec2Image::Id(text.to_owned())),
        Some((owner, name)) if !owner.is_empty() && !name.is_empty() => Ok(Ec2Image::Newest {
            owner: owner.to_owned(),
            name: name.to_owned(),
        }),
        None | Some(_) => Err(ConfigError(format!(
            "DROVER_EC2_IMAGE must be an image's id (ami-…) or owner/name-pattern ({IMAGE})"
        ))),
    }
}

/// A list with commas between; each word begins like this.
fn words(env: Env<'_>, name: &str, begins: &str) -> Result<Vec<String>, ConfigError> {
    let text = env.get(name).unwrap_or_default();
    let words = text
        .split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty());
    let fit = |word: &str| {
        let rest = word.strip_prefix(begins).unwrap_or_default();
        !rest.is_empty() && rest.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    let mut list: Vec<String> = Vec::new();
    for word in words {
        if !fit(word) {
            return Err(ConfigError(format!(
                "{name} must be names like {begins}… with commas between"
            )));
        }
        if !list.iter().any(|known| known == word) {
            list.push(word.to_owned());
        }
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(settings: &[(&str, &str)]) -> Result<Option<Ec2Config>, ConfigError> {
        let get = |name: &str| {
            let found = settings.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Ec2Config::from_env(Env(&get))
    }

    #[test]
    fn without_a_region_it_is_off() {
        assert_eq!(read(&[]).unwrap(), None);
        assert_eq!(read(&[("DROVER_DEPLOYMENT", "x")]).unwrap(), None);
    }

    #[test]
    fn regions_come_from_its_own_setting_or_from_the_sdks() {
        let regions = |settings: &[_]| read(settings).unwrap().unwrap().regions;
        let aws = ("AWS_REGION", "eu-west-1");
        assert_eq!(regions(&[aws]), ["eu-west-1"]);
        assert_eq!(
            regions(&[("AWS_DEFAULT_REGION", "eu-west-2")]),
            ["eu-west-2"]
        );
        let own = ("DROVER_EC2_REGIONS", "us-east-1, eu-west-1,us-east-1,");
        assert_eq!(regions(&[aws, own]), ["us-east-1", "eu-west-1"]);
    }

    #[test]
    fn the_defaults_are_a_debian_in_the_default_network() {
        let config = read(&[("AWS_REGION", "r")]).unwrap().unwrap();
        let image = Ec2Image::Newest {
            owner: "136693071363".into(),
            name: "debian-12-amd64-*".into(),
        };
        assert_eq!((config.image, config.ssh_port), (image, 22));
        assert_eq!(config.address, Ec2Address::Private);
        assert_eq!(config.deployment, "drover");
        assert!(config.subnets.is_empty() && config.security_groups.is_empty());
    }

    #[test]
    fn what_is_wrong_is_named_even_where_ec2_is_off() {
        for (name, value) in [
            ("DROVER_DEPLOYMENT", "a b"),
            ("DROVER_DEPLOYMENT", &"x".repeat(41)),
            ("DROVER_EC2_REGIONS", "eu west"),
            ("DROVER_EC2_IMAGE", "debian"),
            ("DROVER_EC2_IMAGE", "self/"),
            ("DROVER_EC2_SUBNETS", "sg-1"),
            ("DROVER_EC2_SECURITY_GROUPS", "default"),
            ("DROVER_EC2_ADDRESS", "both"),
            ("DROVER_EC2_SSH_PORT", "0"),
        ] {
            let error = read(&[(name, value)]).unwrap_err().to_string();
            assert!(error.starts_with(name), "{name}={value}: {error}");
        }
    }
}
