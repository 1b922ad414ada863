//! All scripts that drover runs on servers, with whom they have to be, what they change
//! and what stands before them. What each does, takes and tells is said at its head.

use super::Changes::{Cluster, Machine, Nothing};
use super::Sees::{Anyone, Owner, Root};
use super::{Change, Look, Script};

/// The type of what changes this.
macro_rules! kind {
    (Nothing) => {
        Look
    };
    ($changes:ident) => {
        Change
    };
}

macro_rules! scripts {
    ($($name:ident = $file:ident, $sees:ident, $changes:ident, [$($need:ident),*];)*) => {
        $(
            #[doc = concat!("`scripts/", stringify!($file), ".sh`")]
            pub const $name: &kind!($changes) = &kind!($changes)(&Script {
                name: stringify!($file),
                text: include_str!(concat!("scripts/", stringify!($file), ".sh")),
                sees: $sees,
                changes: $changes,
                needs: &[$(include_str!(concat!("scripts/prelude/", stringify!($need), ".sh"))),*],
            });
        )*
        /// Every one of them.
        pub const ALL: &[&Script] = &[$($name.0),*];
    };
}

scripts! {
    // What only looks at a server.
    FEEL_SERVER = feel_server, Anyone, Nothing, [clusters, owner];
    WITNESS = witness, Anyone, Nothing, [clusters, owner, choose];
    BOOT_ID = boot_id, Anyone, Nothing, [];
    REACHES = reaches, Anyone, Nothing, [];
    LOOK_VOLUMES = look_volumes, Anyone, Nothing, [clusters];

    // A server that is made.
    SETTLED = settled, Anyone, Nothing, [];
    MOUNT_VOLUME = mount_volume, Root, Machine, [background];
    INSTALL_POSTGRES = install_postgres, Root, Machine, [background];

    // What drover's login may do.
    LOOK_HELPER = look_helper, Anyone, Nothing, [];
    INSTALL_HELPER = install_helper, Root, Machine, [];
    REPLACE_HELPER = replace_helper, Root, Machine, [];
    NARROW_LOGIN = narrow_login, Root, Machine, [];

    // Room.
    GROW_FILESYSTEM = grow_filesystem, Anyone, Machine, [];
    ROTATED_LOGS = rotated_logs, Anyone, Machine, [clusters, owner];
    LOOK_SLOTS = look_slots, Owner, Nothing, [superuser, unread_slots];
    DROP_SLOT_IF_UNREAD = drop_slot_if_unread, Owner, Cluster, [superuser, unread_slots];
    TRY_CHECKPOINT = try_checkpoint, Owner, Cluster, [superuser];
    LOOK_READ_ONLY = look_read_only, Owner, Nothing, [superuser];
    SET_READ_ONLY = set_read_only, Owner, Cluster, [superuser, reserve];
    RESET_READ_ONLY = reset_read_only, Owner, Cluster, [superuser, reserve];

    // A cluster that is made, and goes.
    MAKE_CLUSTER = make_cluster, Root, Cluster, [background, make_cluster_arguments, owner, put, certify, reserve, new_cluster];
    COPY_CLUSTER = copy_cluster, Root, Cluster, [background, copy_cluster_arguments, owner, put, standby, leader, certify, reserve, new_cluster];
    VERSION = version, Anyone, Nothing, [clusters, owner, choose];
    CERTIFICATE = certificate, Owner, Nothing, [];
    RENEW_CERTIFICATE = renew_certificate, Owner, Cluster, [processes, put, certify];
    MAKE_ROLES = make_roles, Owner, Cluster, [superuser];
    DROP_CLUSTER = drop_cluster, Root, Cluster, [clusters, owner, processes, ctl];

    // A cluster that runs, or does not.
    LOOK_CLUSTER = look_cluster, Owner, Nothing, [processes, answers];
    RESTART_DEAD_CLUSTER = restart_dead_cluster, Anyone, Cluster, [clusters, owner, choose, cluster, processes, answers, put, settings, let_in, standby, ctl];
    START_CLUSTER = start_cluster, Root, Cluster, [clusters, owner, choose, cluster, processes, put, settings, let_in, standby, ctl];
    MARK_POSTMASTER = mark_postmaster, Owner, Nothing, [processes, postmaster];
    RESTART_CLUSTER = restart_cluster, Anyone, Cluster, [clusters, owner, choose, cluster, processes, postmaster, put, settings, let_in, standby, ctl];

    // Roles and sessions.
    LOOK_ROLE = look_role, Owner, Nothing, [superuser];
    RESTORE_LOGIN = restore_login, Owner, Cluster, [superuser, quiet];
    SET_PASSWORD = set_password, Owner, Cluster, [superuser, quiet];
    END_IDLE_SESSIONS = end_idle_sessions, Owner, Cluster, [superuser];
    LOOK_FREEZING = look_freezing, Owner, Nothing, [superuser];
    START_FREEZING = start_freezing, Owner, Cluster, [superuser];
    LOOK_ARCHIVER = look_archiver, Owner, Nothing, [superuser, archiver, archiver_status];
    RESTART_ARCHIVER = restart_archiver, Owner, Cluster, [superuser, archiver, archiver_status];

    // Leaders and followers.
    CANDIDATE_STANDING = candidate_standing, Owner, Nothing, [superuser, timeline];
    LEADERS_TIMELINE = leaders_timeline, Owner, Nothing, [superuser, timeline];
    WAL_END = wal_end, Owner, Nothing, [processes];
    FOLLOWER_STANDING = follower_standing, Owner, Nothing, [superuser];
    CONFIRMED = confirmed, Owner, Nothing, [superuser];
    STREAMING_FOLLOWERS = streaming_followers, Owner, Nothing, [superuser];
    STREAMS_FROM = streams_from, Owner, Nothing, [superuser];
    RECEIVER_STATUS = receiver_status, Owner, Nothing, [superuser];
    END_RECEIVER = end_receiver, Owner, Cluster, [superuser];
    CAUGHT_UP = caught_up, Owner, Nothing, [superuser];
    CHECKPOINT = checkpoint, Owner, Cluster, [superuser];
    REVOKE = revoke, Owner, Cluster, [superuser, timeline, put];
    SET_SYNCHRONOUS_NAMES = set_synchronous_names, Owner, Cluster, [superuser, synchronous_names];
    MAKE_SLOTS = make_slots, Owner, Cluster, [superuser, put];
    DROP_SLOT = drop_slot, Owner, Cluster, [superuser];
    TIDY_SLOTS = tidy_slots, Owner, Cluster, [superuser];
    PROMOTE = promote, Root, Cluster, [clusters, owner, choose, cluster, superuser, synchronous_names, timeline, let_in, put, settings];
    STOP_LEADER = stop_leader, Root, Cluster, [clusters, owner, choose, cluster, processes, standby, ctl];
    LEAD_ON = lead_on, Root, Cluster, [clusters, owner, choose, cluster, processes, standby, let_in, ctl];
    FENCE = fence, Root, Cluster, [clusters, owner, choose, cluster, processes, standby, ctl];
    OPEN = open, Root, Cluster, [clusters, owner, choose, cluster, processes, let_in];
    FOLLOW = follow, Root, Cluster, [clusters, owner, choose, cluster, processes, standby, follow_arguments, put, leader];
    RESTART_FOLLOWER = restart_follower, Root, Cluster, [clusters, owner, choose, cluster, processes, put, settings, standby, ctl];
    REWIND = rewind, Root, Cluster, [background, clusters, owner, choose, cluster, processes, standby, follow_arguments, leader];
    COPY_LEADER = copy_leader, Root, Cluster, [background, clusters, owner, choose, cluster, processes, standby, follow_arguments, leader];

    // Game days.
    GAMEDAY_SIGNAL = gameday_signal, Anyone, Machine, [clusters, owner, processes, gameday_clusters];
    GAMEDAY_FILL = gameday_fill, Anyone, Machine, [clusters, owner, gameday_clusters, gameday_volume];
    GAMEDAY_EMPTY = gameday_empty, Anyone, Machine, [clusters, owner, gameday_clusters, gameday_volume];
}

/// What `end_idle_sessions.sh` runs: its `$3`. drover's own role runs it too, where it may.
pub const END_IDLE_SESSIONS_SQL: &str = include_str!("scripts/end_idle_sessions.sql");

/// What `start_freezing.sh` runs detached: its `$4`.
pub const FREEZE_TABLES: &str = include_str!("scripts/freeze_tables.sh");

/// What finds the cluster of a port, and proves whose it is.
pub(super) const A_CLUSTER: [&str; 4] = [
    include_str!("scripts/prelude/clusters.sh"),
    include_str!("scripts/prelude/owner.sh"),
    include_str!("scripts/prelude/choose.sh"),
    include_str!("scripts/prelude/cluster.sh"),
];

/// What `feel_server.sh` runs with perl: its `$1`.
pub const PROBE: &str = include_str!("scripts/probe.pl");

/// What root runs to put drover-root on a server: `install_helper.sh`'s `$1`.
pub const PUT_HELPER: &str = include_str!("scripts/put_helper.sh");

/// What `narrow_login.sh` runs as root: its `$1`.
pub const WIDE_RULES: &str = include_str!("scripts/wide_rules.pl");
