# shellcheck shell=sh disable=SC2154  # mark: prelude/head.sh
# What a script begins with that changes something: its word, which the server obeys only if
# it knows no newer one (drover-root keeps it). The latest moment is the runner's answer to
# the server's own clock, which is read here.

word_known=$1 word_deployment=$2 word_epoch=$3 word_by=$4 word_fences=$5
shift 5
IFS=' ' read -r word_now _ </proc/uptime
IFS= read -r word_boot </proc/sys/kernel/random/boot_id
printf '%s asks %s %s\n' "$mark" "$word_boot" "${word_now%.*}${word_now#*.}"
# Byte by byte, for what follows is the script's.
# shellcheck disable=SC2016  # the other shell expands it
word_answer=$(timeout 20 sh -c 'IFS= read -r line && printf %s "$line"' <&3) || {
  echo "nobody said until when this may be done"
  exit 1
}
word_boot=${word_answer% *} word_latest=${word_answer#* }

# late TELLS why it is too late for this word.
late() {
  IFS= read -r word_now </proc/sys/kernel/random/boot_id
  if [ "$word_now" != "$word_boot" ]; then
    echo "refused: late: this word was for another boot of this server"
    return 0
  fi
  IFS=' ' read -r word_now _ </proc/uptime
  [ "${word_now%.*}${word_now#*.}" -ge "$word_latest" ] || return 1
  echo "refused: late: this word has come too late"
}

# obey KEY ends the script (76) unless its word is the newest about that, and has the lock on
# it for as long as descriptor 9 is open anywhere: in what is left at work behind the script,
# too. Another script that has it is waited for a moment (75). Where drover has no root,
# there is nobody to keep the words, and only the hour counts.
obey() {
  ! late || exit 76
  may_root || return 0
  word_pipe=$(mktemp -d) && mkfifo -- "$word_pipe/in" "$word_pipe/out" || exit 1
  # A shell that runs a function under a redirection keeps what it had open for afterwards: the
  # session's own output, for as long as there is a keeper, and a job's lock.
  (
    exec <"$word_pipe/in" >"$word_pipe/out" 2>&1 3<&- 7>&-
    drover_root word "$1" "$word_known" "$word_deployment" "$word_epoch" "$word_by" \
      "$word_fences" "$word_boot" "$word_latest"
  ) &
  word_keeper=$!
  exec 9>"$word_pipe/in" 8<"$word_pipe/out"
  rm -rf -- "$word_pipe"
  # sudo may have warnings of its own before that: a host without a name, a rule it skips.
  word_said=
  while IFS= read -r word_line <&8; do
    word_said=$word_line
    case $word_said in "held "*) break ;; esac
  done
  exec 8<&-
  case $word_said in
    "held "*) ;;
    *)
      wait "$word_keeper"
      word_status=$?
      echo "${word_said:-the words of this server are not kept}"
      [ "$word_status" != 0 ] || exit 1
      exit "$word_status"
      ;;
  esac
  printf '%s obeys %s\n' "$mark" "$1"
  ! late || exit 76
}

# forget_word: what the word was about is gone, and so is the word, which nobody misses.
forget_word() {
  word_known=-
  { echo forget >&9; } 2>/dev/null || :
}
