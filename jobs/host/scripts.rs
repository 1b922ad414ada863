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
        #[cfg(test)]
        pub(super) const ALL: &[&Script] = &[$($name),*];
    };
}

scripts! {
    // What only looks at a server.
    FEEL_SERVER = feel_server, Anyone, [clusters];
    WITNESS = witness, Anyone, [clusters];
    BOOT_ID = boot_id, Anyone, [];
    REACHES = reaches, Anyone, [];
    LOOK_VOLUMES = look_volumes, Anyone, [];

    // A server that is made.
    SETTLED = settled, Anyone, [];
    MOUNT_VOLUME = mount_volume, Root, [];
    INSTALL_POSTGRES = install_postgres, Root, [background];

    // Room.
    GROW_FILESYSTEM = grow_filesystem, Anyone, [];
    ROTATED_LOGS = rotated_logs, Anyone, [];
    LOOK_SLOTS = look_slots, Owner, [cluster, superuser, unread_slots];
    DROP_SLOT_IF_UNREAD = drop_slot_if_unread, Owner, [cluster, superuser, unread_slots];
    TRY_CHECKPOINT = try_checkpoint, Owner, [cluster, superuser];
    LOOK_READ_ONLY = look_read_only, Owner, [cluster, superuser];
    SET_READ_ONLY = set_read_only, Owner, [cluster, superuser];
    RESET_READ_ONLY = reset_read_only, Owner, [cluster, superuser];

    // A cluster that is made, and goes.
    MAKE_CLUSTER = make_cluster, Root, [background, make_cluster_arguments, put, new_cluster];
    COPY_CLUSTER = copy_cluster, Root, [background, copy_cluster_arguments, put, leader, new_cluster];
    VERSION = version, Anyone, [cluster];
    CERTIFICATE = certificate, Anyone, [cluster];
    MAKE_ROLES = make_roles, Owner, [cluster, superuser];
    DROP_CLUSTER = drop_cluster, Root, [];

    // A cluster that runs, or does not.
    LOOK_CLUSTER = look_cluster, Owner, [cluster, answers];
    RESTART_DEAD_CLUSTER = restart_dead_cluster, Owner, [cluster, answers];
    START_CLUSTER = start_cluster, Root, [cluster];
    MARK_POSTMASTER = mark_postmaster, Owner, [cluster, postmaster];
    RESTART_CLUSTER = restart_cluster, Owner, [cluster, postmaster];

    // Roles and sessions.
    LOOK_ROLE = look_role, Owner, [cluster, superuser];
    RESTORE_LOGIN = restore_login, Owner, [cluster, superuser, quiet];
    SET_PASSWORD = set_password, Owner, [cluster, superuser, quiet];
    END_IDLE_SESSIONS = end_idle_sessions, Owner, [cluster, superuser];
    LOOK_FREEZING = look_freezing, Owner, [cluster, superuser];
    START_FREEZING = start_freezing, Owner, [cluster, superuser];
    LOOK_ARCHIVER = look_archiver, Owner, [cluster, superuser, archiver, archiver_status];
    RESTART_ARCHIVER = restart_archiver, Owner, [cluster, superuser, archiver, archiver_status];

    // Leaders and followers.
    CANDIDATE_STANDING = candidate_standing, Owner, [cluster, superuser];
    FOLLOWER_STANDING = follower_standing, Owner, [cluster, superuser];
    STREAMING_FOLLOWERS = streaming_followers, Owner, [cluster, superuser];
    STREAMS_FROM = streams_from, Owner, [cluster, superuser];
    RECEIVER_STATUS = receiver_status, Owner, [cluster, superuser];
    END_RECEIVER = end_receiver, Owner, [cluster, superuser];
    CAUGHT_UP = caught_up, Owner, [cluster, superuser];
    CHECKPOINT = checkpoint, Owner, [cluster, superuser];
    SET_SYNCHRONOUS_NAMES = set_synchronous_names, Owner, [cluster, superuser];
    MAKE_SLOT = make_slot, Owner, [cluster, superuser];
    DROP_SLOT = drop_slot, Owner, [cluster, superuser];
    TIDY_SLOTS = tidy_slots, Owner, [cluster, superuser];
    PROMOTE = promote, Owner, [cluster, superuser];
    STOP_LEADER = stop_leader, Root, [cluster];
    LEAD_ON = lead_on, Root, [cluster];
    FENCE = fence, Root, [cluster];
    OPEN = open, Root, [cluster];
    FOLLOW = follow, Root, [cluster, follow_arguments, put, leader];
    RESTART_FOLLOWER = restart_follower, Root, [cluster];
    REWIND = rewind, Root, [background, cluster, follow_arguments, leader];
    COPY_LEADER = copy_leader, Root, [background, cluster, follow_arguments, leader];

    // Game days.
    GAMEDAY_SIGNAL = gameday_signal, Root, [gameday_clusters];
    GAMEDAY_FILL = gameday_fill, Root, [gameday_clusters, gameday_volume];
    GAMEDAY_EMPTY = gameday_empty, Root, [gameday_clusters, gameday_volume];
}

/// What `end_idle_sessions.sh` runs: its `$3`. drover's own role runs it too, where it may.
pub const END_IDLE_SESSIONS_SQL: &str = include_str!("scripts/end_idle_sessions.sql");

/// What `start_freezing.sh` runs detached: its `$4`.
pub const FREEZE_TABLES: &str = include_str!("scripts/freeze_tables.sh");

/// What `feel_server.sh` runs with perl: its `$1`.
pub const PROBE: &str = include_str!("scripts/probe.pl");
