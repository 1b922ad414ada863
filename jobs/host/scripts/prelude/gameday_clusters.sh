# shellcheck shell=sh
# each_cluster COMMAND … does something for the cluster at the port $1, or for all: $v, $c,
# $d, $conf, $o are its. Status 3: there is none.

clusters=$(known "$1")
[ -n "$clusters" ] || { echo "no cluster is set up there"; exit 3; }

each_cluster() {
  while take <&4; do
    prove_owner
    "$@" 4<&-
  done 4<<END
$clusters
END
}
