# shellcheck shell=sh
# seeing COMMAND … looks as the login.

seeing() { "$@"; }
