#!/bin/sh
# Gives part of the data of cluster $1/$2 the mode $3. Its own folder stays as it is: it is the
# start that has to fail, and not those who only look.

read -r _ _ _ _ _ data _ <<END
$(pg_lsclusters -h "$1" "$2")
END
chmod "$3" "$data/global"
