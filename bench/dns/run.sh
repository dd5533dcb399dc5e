#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# run.sh NAME -- SERVER COMMAND...
# Starts the command pinned to core $SCORE (0), waits until it answers on ::1:$PORT, runs dnsperf and
# dnsblast pinned to core $CCORE (1), prints one CSV line, stops the server by pid.
# Environment: PORT(5300) Q(query file) SECS(10 dnsperf, 0: none) BSECS(4 blast) RATE(5000 latency probe, 0=off) LSECS(3)
#   OUTQ(dnsperf outstanding, 100) CLIENTS(10) WIN(dnsblast window 256) PROBE(name to wait for)
#   PRIMARY(command of a primary on ::1:$PRIMARY_PORT (5301) whose zone changes, and which the server follows): started first,
#   on core $CCORE. PAIRS(15): latency is then probed in so many pairs of windows of a second, one with changes and one while
#   the primary keeps them to itself (SIGUSR1), in turn, so that both are of the same process beside the same other work; pairs in which the host
#   gave more than one tick of the processors to others are taken again, four times as many in all at most.
# CSV: name,perf_qps,perf_us_per_q,perf_lost,perf_avg_lat_us,blast_qps,blast_us_per_q,p50,p99,p999,rss_kb,load_s,avg_an,avg_len,foreign_cpu_pct,perf_user_us,blast_user_us,p99_quiet,serials_behind,p99_ratio,others_pct
# p50, p99, p999 and p99_quiet are medians of the windows, p99_ratio the median of the pairs' ratios.
set -u; here=$(cd "$(dirname "$0")" && pwd)
NAME=$1; shift; [ "$1" = -- ] && shift
PORT=${PORT:-5300}; SECS=${SECS:-10}; BSECS=${BSECS:-4}; RATE=${RATE:-5000}; OUTQ=${OUTQ:-100}; CLIENTS=${CLIENTS:-10}
WIN=${WIN:-256}; PROBE=${PROBE:-svc-0000007.ns007.bench.test}; SCORE=${SCORE:-0}; CCORE=${CCORE:-1}; BLAST=${BLAST:-${DNSB:-$PWD/build}/dnsblast}
HZ=$(getconf CLK_TCK); LOG=${LOG:-${DNSB:-$PWD/build}/log/$NAME.log}; mkdir -p "$(dirname "$LOG")"
first=; pid=
wait_for() { echo "$PROBE AAAA" >"$LOG.probe"; taskset -c $CCORE $BLAST $1 "$LOG.probe" ${WAITS:-60} -1; }
fail() { echo "$NAME,FAILED ($1, see $LOG)"; exit 1; }
end() { [ -z "$first" ] || { kill $first 2>/dev/null; wait $first 2>/dev/null; first=; }; }
trap end EXIT
if [ -n "${PRIMARY:-}" ]; then
  # shellcheck disable=SC2086
  taskset -c $CCORE $PRIMARY >"$LOG.primary" 2>&1 & first=$!
  wait_for ${PRIMARY_PORT:-5301} || fail "no primary"
fi
t0=$(date +%s.%N)
taskset -c $SCORE "${REAPER:-${DNSB:-$PWD/build}/reaper}" "$@" >"$LOG" 2>&1 & pid=$!
tree() { # pid and all its descendants
  local l="$pid" n="$pid" c
  while [ -n "$n" ]; do c=""; for p in $n; do c="$c $(cat /proc/$p/task/*/children 2>/dev/null)"; done; n=$(echo $c); l="$l $n"; done; echo $l; }
# of the processes there are, and of those that have ended
cpu() { local s=0 u=0 p x; for p in $(tree); do x=$(sed 's/.*) //' /proc/$p/stat 2>/dev/null | awk '{print $12+$13+$14+$15, $12+$14}'); set -- ${x:-0 0}; s=$((s+$1)); u=$((u+$2)); done; echo $s $u; }
# Pages that processes share count once (Pss): NSD forks.
rss() { local p; for p in $(tree); do awk '/^Pss:/{print $2}' /proc/$p/smaps_rollup 2>/dev/null; done | awk '{s+=$1}END{print s}'; }
busy() { awk '/^cpu /{print $2+$3+$4+$7+$8+$9}' /proc/stat; }
# others: busy or stolen time that was neither the server's, nor its primary's, nor of what this script ran, of all time
ours() { local p s; read s _ <<<$(cpu); for p in $first $$; do s=$((s+$(sed 's/.*) //' /proc/$p/stat | awk '{print $12+$13+$14+$15}'))); done; echo $s; }
others() { awk -v ours=$(ours) '/^cpu /{print $2+$3+$4+$7+$8+$9-ours, $2+$3+$4+$5+$6+$7+$8+$9}' /proc/stat; }
stop() { local all; all=$(tree); kill $pid 2>/dev/null; for i in $(seq 50); do kill -0 $pid 2>/dev/null || break; sleep .1; done
  for p in $all; do kill -9 $p 2>/dev/null; done; wait $pid 2>/dev/null; }
trap 'stop; end' EXIT
ok=0
if [ "${NOPROBE:-0}" = 1 ]; then sleep .3; ok=1
else wait_for $PORT && kill -0 $pid 2>/dev/null && ok=1; fi
t1=$(date +%s.%N); load=$(echo "$t1 $t0" | awk '{printf "%.2f",$1-$2}')
[ $ok = 1 ] || fail "no answer"
sleep ${SETTLE:-0.5}
st0=$(others)
read c0 u0 <<<$(cpu); b0=$(busy); w0=$(date +%s%N)
if [ "$SECS" != 0 ]; then taskset -c $CCORE dnsperf -f inet6 -s ::1 -p $PORT -d "$Q" -c $CLIENTS -T 1 -q $OUTQ -l $SECS -t 1 >"$LOG.perf" 2>&1; else : >"$LOG.perf"; fi
read c1 u1 <<<$(cpu); b1=$(busy); w1=$(date +%s%N)
pq=-; pl=-; qps=-; al=-; pus=-; puu=-; fg=-
if [ "$SECS" != 0 ]; then
pq=$(awk '/Queries completed/{print $3}' "$LOG.perf"); pl=$(awk '/Queries lost/{print $3}' "$LOG.perf")
qps=$(awk '/Queries per second/{printf "%.0f",$4}' "$LOG.perf"); al=$(awk '/Average Latency/{printf "%.0f",$4*1e6}' "$LOG.perf")
pus=$(echo "$c0 $c1 $pq $HZ" | awk '{printf "%.3f",($2-$1)/$4*1e6/$3}')
puu=$(echo "$u0 $u1 $pq $HZ" | awk '{printf "%.3f",($2-$1)/$4*1e6/$3}')
fi
bq=-; bus=-; buu=-; an=-; ln=-; p50=-; p99=-; p999=-
if [ "$BSECS" != 0 ]; then read c0 u0 <<<$(cpu); b0=$(busy); w0=$(date +%s%N); o=$(taskset -c $CCORE $BLAST $PORT "$Q" $BSECS $WIN); read c1 u1 <<<$(cpu); b1=$(busy); w1=$(date +%s%N); echo "$o" >>"$LOG.perf"
  bq=$(echo "$o" | sed 's/.*qps=\([0-9]*\).*/\1/'); g=$(echo "$o" | sed 's/.* got=\([0-9]*\).*/\1/'); an=$(echo "$o" | sed 's/.*avg_an=\([0-9.]*\).*/\1/'); ln=$(echo "$o" | sed 's/.*avg_len=\([0-9.]*\).*/\1/')
  # foreign: busy time that is neither server nor (one fully busy) client core, as % of wall
  fg=$(echo "$b0 $b1 $c0 $c1 $w0 $w1 $HZ" | awk '{d=($6-$5)/1e9; printf "%.0f",(($2-$1-($4-$3))/$7-d)/d*100}')
  bus=$(echo "$c0 $c1 $g $HZ" | awk '{printf "%.3f",($2-$1)/$4*1e6/$3}'); buu=$(echo "$u0 $u1 $g $HZ" | awk '{printf "%.3f",($2-$1)/$4*1e6/$3}'); fi
# While latency is probed, prober and server go before whatever else has their processors, where they may: kernel threads take
# one for milliseconds, and a process that keeps it awake, idle though it is, is given its share first when the server has just worked.
before="chrt -r 1"; $before true 2>/dev/null || before=
ahead() { local p; [ -z "$before" ] || for p in $(tree); do chrt -a -r -p 1 $p; done; }
# probe prints p50, p99 and p99.9 of queries at a rate.
probe() { local o; o=$(taskset -c $CCORE $before $BLAST $PORT "$Q" $1 0 $RATE); echo "$o" >>"$LOG.perf"; sed 's/.*p50=\([0-9.]*\)us.*p99=\([0-9.]*\)us p999=\([0-9.]*\)us.*/\1 \2 \3/' <<<"$o"; }
median() { sort -g | awk '{v[NR]=$1}END{if(NR)printf "%.*f",(d==""?1:d),NR%2?v[(NR+1)/2]:(v[NR/2]+v[NR/2+1])/2}' d="${1:-1}"; }
# A processor that halts may be given to other machines of its host, and comes back milliseconds late: while latency is probed none does.
spinners=(); rest() { [ ${#spinners[@]} = 0 ] || { kill "${spinners[@]}"; wait "${spinners[@]}"; } 2>/dev/null; spinners=(); }
awake() { local c; for c in $SCORE $CCORE; do chrt -i 0 taskset -c $c bash -c 'while :; do :; done' & spinners+=($!); done; }
trap 'rest; stop; end' EXIT
# stolen is what the host has given to others of these processors, in ticks of 1/$HZ s
stolen() { awk '/^cpu /{print $9}' /proc/stat; }
quiet=-; behind=-; ratio=-
ahead; awake
if [ "$RATE" != 0 ] && [ -z "$first" ]; then read p50 p99 p999 <<<$(probe ${LSECS:-3})
elif [ "$RATE" != 0 ]; then
  # One SOA query to each, the server first: what the primary has, and the server has not yet.
  behind=$("$here/behind.py" $PORT ${PRIMARY_PORT:-5301})
  : >"$LOG.pairs"
  for ((i = 0, kept = 0; kept < ${PAIRS:-15} && i < 4 * ${PAIRS:-15}; i++)); do
    rest; sleep 2; awake # who always works is given less by the host
    s0=$(stolen); with=$(probe 1); kill -USR1 $first; sleep .2 # the last change arrives
    without=$(probe 1); kill -USR2 $first; sleep .2
    lost=$(($(stolen) - s0))
    echo "$with $without $lost" >>"$LOG.pairs"
    [ $lost -gt 1 ] || ((++kept))
  done
  # Where the host has left no pair alone, all tell what there is.
  [ $kept = 0 ] || { awk '$7<=1' "$LOG.pairs" >"$LOG.kept" && mv "$LOG.kept" "$LOG.pairs"; }
  p50=$(awk '{print $1}' "$LOG.pairs" | median); p99=$(awk '{print $2}' "$LOG.pairs" | median); p999=$(awk '{print $3}' "$LOG.pairs" | median)
  quiet=$(awk '{print $5}' "$LOG.pairs" | median); ratio=$(awk '$5>0{print $2/$5}' "$LOG.pairs" | median 3)
fi
rest
r=$(rss); others=$(echo "$st0 $(others)" | awk '{printf "%.1f", 100*($3-$1)/($4-$2)}')
echo "$NAME,$qps,$pus,$pl,$al,$bq,$bus,$p50,$p99,$p999,$r,$load,$an,$ln,$fg,$puu,$buu,$quiet,$behind,$ratio,$others"
