//! All scripts that drover runs on servers, with whom they have to be and what stands
//! before them. What each does, takes and tells is said at its head.

use super::Script;
use super::Sees::{Anyone, Owner, Root};

macro_rules! scripts {
    ($($name:ident = $file:ident, $sees:ident, [$($need:ident),*];)*) => {
        $(
            #[doc = concat!("`scripts/", stringify!($file), ".sh`")]
            pub const $name: &Script = &Script {
                name: stringify!($file),
                text: include_str!(concat!("scripts/", stringify!($file), ".sh")),
                sees: $sees,
                needs: &[$(include_str!(concat!("scripts/prelude/", stringify!($need), ".sh"))),*],
            };
        )*
        /// Every one of them.
        pub const ALL: &[&Script] = &[$($name),*];
    };
}

scripts! {
    // What only looks at a server.
    FEEL_SERVER = feel_server, Anyone, [clusters];
    WITNESS = witness, Anyone, [clusters, owner];
    BOOT_ID = boot_id, Anyone, [];
    REACHES = reaches, Anyone, [];
    LOOK_VOLUMES = look_volumes, Anyone, [clusters];

    // A server that is made.
    SETTLED = settled, Anyone, [];
    MOUNT_VOLUME = mount_volume, Root, [background];
    INSTALL_POSTGRES = install_postgres, Root, [background];

    // Room.
    GROW_FILESYSTEM = grow_filesystem, Anyone, [root];
    ROTATED_LOGS = rotated_logs, Anyone, [clusters, owner];
    LOOK_SLOTS = look_slots, Owner, [superuser, unread_slots];
    DROP_SLOT_IF_UNREAD = drop_slot_if_unread, Owner, [superuser, unread_slots];
    TRY_CHECKPOINT = try_checkpoint, Owner, [superuser];
    LOOK_READ_ONLY = look_read_only, Owner, [superuser];
    SET_READ_ONLY = set_read_only, Owner, [superuser];
    RESET_READ_ONLY = reset_read_only, Owner, [superuser];

    // A cluster that is made, and goes.
    MAKE_CLUSTER = make_cluster, Root, [background, make_cluster_arguments, owner, put, certify, new_cluster];
    COPY_CLUSTER = copy_cluster, Root, [background, copy_cluster_arguments, owner, put, standby, leader, certify, new_cluster];
    VERSION = version, Anyone, [clusters];
    CERTIFICATE = certificate, Owner, [];
    RENEW_CERTIFICATE = renew_certificate, Owner, [processes, put, certify];
    MAKE_ROLES = make_roles, Owner, [superuser];
    DROP_CLUSTER = drop_cluster, Root, [clusters, owner, processes, ctl];

    // A cluster that runs, or does not.
    LOOK_CLUSTER = look_cluster, Owner, [processes, answers];
    RESTART_DEAD_CLUSTER = restart_dead_cluster, Anyone, [root, clusters, owner, cluster, processes, one_at_a_time, answers, ctl];
    START_CLUSTER = start_cluster, Root, [clusters, owner, cluster, processes, ctl];
    MARK_POSTMASTER = mark_postmaster, Owner, [processes, postmaster];
    RESTART_CLUSTER = restart_cluster, Anyone, [root, clusters, owner, cluster, processes, one_at_a_time, postmaster, ctl];

    // Roles and sessions.
    LOOK_ROLE = look_role, Owner, [superuser];
    RESTORE_LOGIN = restore_login, Owner, [superuser, quiet];
    SET_PASSWORD = set_password, Owner, [superuser, quiet];
    END_IDLE_SESSIONS = end_idle_sessions, Owner, [superuser];
    LOOK_FREEZING = look_freezing, Owner, [superuser];
    START_FREEZING = start_freezing, Owner, [superuser];
    LOOK_ARCHIVER = look_archiver, Owner, [superuser, archiver, archiver_status];
    RESTART_ARCHIVER = restart_archiver, Owner, [superuser, archiver, archiver_status];

    // Leaders and followers.
    CANDIDATE_STANDING = candidate_standing, Owner, [superuser];
    FOLLOWER_STANDING = follower_standing, Owner, [superuser];
    STREAMING_FOLLOWERS = streaming_followers, Owner, [superuser];
    STREAMS_FROM = streams_from, Owner, [superuser];
    RECEIVER_STATUS = receiver_status, Owner, [superuser];
    END_RECEIVER = end_receiver, Owner, [superuser];
    CAUGHT_UP = caught_up, Owner, [superuser];
    CHECKPOINT = checkpoint, Owner, [superuser];
    SET_SYNCHRONOUS_NAMES = set_synchronous_names, Owner, [superuser];
    MAKE_SLOT = make_slot, Owner, [superuser, put];
    DROP_SLOT = drop_slot, Owner, [superuser];
    TIDY_SLOTS = tidy_slots, Owner, [superuser];
    PROMOTE = promote, Owner, [superuser];
    STOP_LEADER = stop_leader, Root, [clusters, owner, cluster, processes, standby, ctl];
    LEAD_ON = lead_on, Root, [clusters, owner, cluster, processes, standby, ctl];
    FENCE = fence, Root, [clusters, owner, cluster, processes, standby, ctl];
    OPEN = open, Root, [clusters, owner, cluster];
    FOLLOW = follow, Root, [clusters, owner, cluster, processes, standby, follow_arguments, put, leader];
    RESTART_FOLLOWER = restart_follower, Root, [clusters, owner, cluster, processes, standby, one_at_a_time, ctl];
    REWIND = rewind, Root, [background, clusters, owner, cluster, processes, standby, follow_arguments, leader];
    COPY_LEADER = copy_leader, Root, [background, clusters, owner, cluster, processes, standby, follow_arguments, leader];

    // Game days.
    GAMEDAY_SIGNAL = gameday_signal, Anyone, [clusters, owner, processes, gameday_clusters];
    GAMEDAY_FILL = gameday_fill, Anyone, [clusters, owner, gameday_clusters, gameday_volume];
    GAMEDAY_EMPTY = gameday_empty, Anyone, [clusters, owner, gameday_clusters, gameday_volume];
}

/// What `end_idle_sessions.sh` runs: its `$3`. drover's own role runs it too, where it may.
pub const END_IDLE_SESSIONS_SQL: &str = include_str!("scripts/end_idle_sessions.sql");

/// What `start_freezing.sh` runs detached: its `$4`.
pub const FREEZE_TABLES: &str = include_str!("scripts/freeze_tables.sh");

/// What finds the cluster of a port, and proves whose it is.
pub(super) const A_CLUSTER: [&str; 3] = [
    include_str!("scripts/prelude/clusters.sh"),
    include_str!("scripts/prelude/owner.sh"),
    include_str!("scripts/prelude/cluster.sh"),
];

/// What `feel_server.sh` runs with perl: its `$1`.
pub const PROBE: &str = include_str!("scripts/probe.pl");
