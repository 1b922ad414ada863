# shellcheck shell=sh
# no_sudo USER prints why the login does not become that user.

no_sudo() {
  why=$(sudo -n -u "$1" -- true 2>&1 | tail -n 1)
  case $why in
    *"password is required"*) echo "sudo asks for a password" ;;
    *"not found"*) echo "there is no sudo" ;;
    *) echo "${why:-sudo lets it do something else}" ;;
  esac
}
