# shellcheck shell=sh
# be_standby: whoever starts the cluster starts a standby, after a loss of power, too. What
# else was put under that name goes. is_standby tells whether it is one.

# shellcheck disable=SC2016  # the owner's shell expands it
be_standby() {
  in_data sh -c '
    [ -f standby.signal ] && [ ! -L standby.signal ] || rm -rf standby.signal
    : >>standby.signal &&
      sync -- standby.signal .'
}
lead() { in_data rm -f standby.signal; }
is_standby() { in_data test -e standby.signal; }
