# Runs "$@" for as long as standard input stays open, and no longer.
#
# Standard input is a pipe whose other end only the parent holds. However the parent ends, kill -9 included, the
# kernel closes that end: then the program is killed, and the directory given first is removed.
# A program that ends by itself ends the guard with its own status; the directory stays, its logs may be wanted.
dir=$1
shift

exec 3<&0
"$@" </dev/null 3<&- &
program=$!

# Ignored from here on, and only here: the program was started with the usual dispositions.
trap '' INT TERM HUP
{
  read -r _ <&3
  # From here on this side has decided, and the USR1 below comes too late.
  trap '' USR1
  kill -9 "$program"
  # What the program itself started: this process group is the guard's own.
  kill -TERM 0
  exit 0
} 2>/dev/null &
watch=$!
exec 3<&-

wait "$program"
status=$?
kill -USR1 "$watch" 2>/dev/null
if wait "$watch" 2>/dev/null; then
  rm -rf "$dir"
fi
exit "$status"
