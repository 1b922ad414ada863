# shellcheck shell=sh
# be_what_it_is ROLE: a `follower` by the record starts as a standby, and as nothing else,
# whatever it was when it was last seen; and with its leader's settings (prelude/settings.sh).
# A `leader`, whose lead nobody was told to take, starts as one: a fence may have been begun
# before another proof came, or nobody could lead behind it. be_standby: whoever starts the
# cluster starts a standby, after a loss of power, too. What else was put under that name goes.
# is_standby tells whether it is one.
#
# On a volume without a free byte xfs makes no file, but renames one: PostgreSQL reads none
# of the signal's content, and writes its options anew at each start.

# shellcheck disable=SC2016  # the owner's shell expands it
be_standby() {
  in_data sh -c '
    [ -f standby.signal ] && [ ! -L standby.signal ] || rm -rf standby.signal
    { true >>standby.signal || mv -fT postmaster.opts standby.signal; } &&
      sync -- standby.signal .'
}
be_what_it_is() {
  case $1 in
    follower) be_standby && match_leader ;;
    leader) let_in && lead ;;
  esac
}
lead() { in_data rm -f standby.signal; }
is_standby() { in_data test -e standby.signal; }
