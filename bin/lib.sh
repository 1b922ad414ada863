# shellcheck shell=bash
# What the scripts here share: where things are, and what the machine must have.
# Sourced by them; not run by itself.

set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

say() { printf '%s\n' "$*"; }
die() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }
is_root() { [ "$(id -u)" = 0 ]; }

# As root, or through sudo.
privileged() {
    if is_root; then "$@"
    elif command -v sudo >/dev/null; then sudo "$@"
    else die "needs root for: $* (there is no sudo)"
    fi
}

# Which packages are missing for what this script needs.
missing_packages() {
    command -v cc >/dev/null || printf ' build-essential'
    compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || printf ' postgresql'
    command -v pg_createcluster >/dev/null || printf ' postgresql-common'
    [ -x /usr/sbin/sshd ] || printf ' openssh-server'
    command -v ssh-keygen >/dev/null || printf ' openssh-client'
    command -v setpriv >/dev/null || printf ' util-linux'
    [ -x /bin/mount ] || [ -x /usr/bin/mount ] || printf ' mount'
    command -v ps >/dev/null || printf ' procps'
    command -v openssl >/dev/null || printf ' openssl'
    if [ "${1:-}" = test ]; then
        # For moto.
        python3 -c 'import ensurepip, venv' 2>/dev/null || printf ' python3-venv'
        missing_for_machines
        command -v shellcheck >/dev/null || printf ' shellcheck'
        command -v strace >/dev/null || printf ' strace'
    fi
    if [[ ${1:-} == demo* ]]; then missing_for_machines; fi
    if [ "${1:-}" = demo ] && ! command -v foreman >/dev/null; then printf ' ruby-foreman'; fi
}

# Which of them drover-machines needs, beside util-linux and mount.
missing_for_machines() {
    [ -x /usr/sbin/nft ] || printf ' nftables'
    command -v systemd-nspawn >/dev/null || printf ' systemd-container'
    [ -x /usr/sbin/debootstrap ] || printf ' debootstrap'
    [ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || printf ' debian-archive-keyring'
    [ -x /usr/sbin/ip ] || [ -x /sbin/ip ] || printf ' iproute2'
}

# Installs them where there is apt. Neither an sshd nor a PostgreSQL cluster of
# the machine's own is started or left behind by that.
install_packages() {
    local missing
    missing=$(missing_packages "${1:-}")
    [ -n "$missing" ] || return 0
    command -v apt-get >/dev/null ||
        die "please install (Debian's names):$missing"
    say "installing system packages:$missing"
    local policy=/usr/sbin/policy-rc.d conf=/etc/postgresql-common/createcluster.d/drover-setup.conf
    local made_policy='' fresh_sshd=''
    [[ $missing == *openssh-server* ]] && fresh_sshd=1
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' | privileged tee $policy >/dev/null
        privileged chmod 755 $policy
        made_policy=1
    fi
    privileged mkdir -p "$(dirname $conf)"
    printf 'create_main_cluster = false\n' | privileged tee $conf >/dev/null
    local done_well=1
    # shellcheck disable=SC2086 # the list is meant to be split
    { privileged env DEBIAN_FRONTEND=noninteractive apt-get update -qq &&
      privileged env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
          --no-install-recommends $missing >/dev/null; } || done_well=
    privileged rm -f $conf
    [ -z "$made_policy" ] || privileged rm -f $policy
    if [ -n "$fresh_sshd" ] && [ -d /run/systemd/system ]; then
        privileged systemctl disable --now ssh.service ssh.socket >/dev/null 2>&1 || true
    fi
    [ -n "$done_well" ] || die "apt-get could not install:$missing"
}

# Rust, and the parts of it that are named.
need_rust() {
    command -v cargo >/dev/null || PATH=$HOME/.cargo/bin:$PATH
    command -v cargo >/dev/null || die "Rust is missing; install it from https://rustup.rs"
    local part
    for part in "$@"; do
        "cargo-$part" --version >/dev/null 2>&1 || cargo "$part" --version >/dev/null 2>&1 ||
            rustup component add "${part/fmt/rustfmt}" ||
            die "cargo $part is missing; run: rustup component add ${part/fmt/rustfmt}"
    done
}

# Whether something can be done as root; asks for a password where there is somebody to ask.
may_be_root() {
    is_root || sudo -n true 2>/dev/null || { [ -t 0 ] && command -v sudo >/dev/null && sudo -v; }
}

# Builds drover-machines, says whether it can make machines here, and if so begins to make their
# image in the background, or those of `images`: wait_for_image. Sets `kind`. The arguments are
# cargo's for all that is built: with other packages, all of ours would be compiled once more.
begin_machines() {
    local why
    cargo build --quiet "$@" --package drover-machines --bin drover-machines
    kind=processes image=
    if ! may_be_root; then
        why="nobody is root here, and sudo does not let us"
    elif why=$(privileged "$target/${profile:-debug}/drover-machines" check 2>&1); then
        kind=machines
    fi
    if [ $kind = processes ]; then
        say "the herd: processes of one user, for machines cannot be had here ($(tr '\n' ' ' <<<"$why"))"
        return
    fi
    say "the herd: real Debian machines, by systemd-nspawn; their image is made meanwhile, if need be"
    image_log=$(mktemp)
    for image in ${images:-bookworm}; do
        privileged "$target/${profile:-debug}/drover-machines" image "$image" || exit
    done >"$image_log" 2>&1 &
    image=$!
}

wait_for_image() {
    [ -n "$image" ] || return 0
    local began=$SECONDS
    wait "$image" || { cat "$image_log"; die "the image of the machines could not be made"; }
    [ $((SECONDS - began)) -lt 2 ] || say "the image was waited for $((SECONDS - began)) s more"
    rm -f "$image_log"
    image=
}

# PostgreSQL refuses to run as root: as root, this user runs it.
need_user() {
    is_root || return 0
    id -u drover >/dev/null 2>&1 ||
        useradd --system --create-home --home-dir /var/lib/drover --shell /bin/sh drover
}

# Where cargo puts what it builds; in CI, a folder that survives the checkout.
if [ -n "${CI:-}" ]; then
    export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/drover/target}
fi
target=${CARGO_TARGET_DIR:-$root/target}

# moto, which stands in for EC2, where cargo builds: made once, and again for
# another version.
need_moto() {
    [ -z "${DROVER_MOTO:-}" ] || return 0
    local version=5.2.5 venv
    mkdir -p "$target"
    venv=$(cd "$target" && pwd)/moto-venv
    if [ "$(cat "$venv/drover-version" 2>/dev/null)" != "$version" ]; then
        say "installing moto $version"
        rm -rf "$venv"
        { python3 -m venv "$venv" &&
          "$venv/bin/pip" install --quiet --disable-pip-version-check "moto[server]==$version" &&
          printf '%s\n' "$version" >"$venv/drover-version"; } ||
            die "could not install moto[server]==$version from PyPI into $venv"
    fi
    export DROVER_MOTO=$venv/bin/moto_server
}
