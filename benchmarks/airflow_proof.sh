#!/usr/bin/env bash
# Proves the exported DAGs on a real Airflow: import, `dags test`, and a downstream run that an asset triggers.
#
#   AIRFLOW_BIN=airflow-venv/bin bash benchmarks/airflow_proof.sh [folder]
#
# AIRFLOW_BIN is the bin folder of an environment of its own:
#   python -m venv airflow-venv && airflow-venv/bin/pip install "apache-airflow==3.3.*"
# Everything is made in the folder (a temporary one where absent), Airflow's home too. Prints what it found, with times.
set -euo pipefail

airflow_bin=$(cd "${AIRFLOW_BIN:?set AIRFLOW_BIN to the bin folder of an environment with Airflow 3.2 or newer}" && pwd)
here=$(cd "$(dirname "$0")/.." && pwd)
sanmaru=${SANMARU_COMMAND:-$here/.venv/bin/sanmaru}
folder=${1:-$(mktemp -d)}
seconds() { date +%s.%N; }
since() { echo "$(seconds) - $1" | bc; }

export AIRFLOW_HOME=$folder/home AIRFLOW__CORE__LOAD_EXAMPLES=False AIRFLOW__CORE__DAGS_FOLDER=$folder/dags
export AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL=5 AIRFLOW__API__PORT=${AIRFLOW_PORT:-18080} PATH=$airflow_bin:$PATH
export AIRFLOW__CORE__EXECUTION_API_SERVER_URL=http://localhost:$AIRFLOW__API__PORT/execution/
export AIRFLOW__CORE__PARALLELISM=2 AIRFLOW__API__WORKERS=1 AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=sqlite:///$folder/airflow.db
mkdir -p "$folder/project" "$folder/dags" "$AIRFLOW_HOME"
start=$(date -u -d '2 hours ago' +%Y-%m-%dT%H:00Z)
cat >"$folder/project/sanmaru.yaml" <<YAML
name: air
task: tabular
data: {train: t.csv, target: y}
pipeline:
  every: 1h
  start: "$start"
  lease_s: 10
  steps:
    collect: {command: "echo collected", poll_s: 1, retry_wait_s: 1}
    late: {command: "test -e asked || { touch asked; echo not yet; exit 75; }", needs: collect, poll_s: 1, retry_wait_s: 1}
    quiet: {command: "exit 99", needs: collect, poll_s: 1, retry_wait_s: 1}
    forecast: {command: "echo forecast", needs: [late, quiet], poll_s: 1, retry_wait_s: 1}
    retrain: {command: "echo trained >> trained.txt", needs: forecast, poll_s: 1, retry_wait_s: 1}
YAML
cd "$folder/project"
"$sanmaru" pipeline export airflow --steps collect,late,quiet,forecast --command "$sanmaru" -o "$folder/dags/air.py"
"$sanmaru" pipeline export airflow --steps retrain --triggered --command "$sanmaru" -o "$folder/dags/retrain.py"
! grep -nE '^\s*(import|from) sanmaru' "$folder"/dags/*.py
main=air.collect.late.quiet.forecast

echo "airflow $(airflow version 2>/dev/null | tail -1)"
airflow db migrate >"$folder/migrate.log" 2>&1
began=$(seconds)
airflow dags reserialize >"$folder/import.log" 2>&1
airflow dags list-import-errors 2>/dev/null | tee "$folder/import-errors.txt"
grep -q "No data found" "$folder/import-errors.txt"
echo "imported without errors in $(since "$began") s"

began=$(seconds)
airflow dags test "$main" "$(date -u -d "$start 1 hour" +%Y-%m-%dT%H:00Z)" >"$folder/test.log" 2>&1 || { tail -40 "$folder/test.log"; exit 1; }
echo "dags test ended in $(since "$began") s"
"$sanmaru" pipeline status --json | tee "$folder/status.json"
grep -q '"late": {"done": 1}' "$folder/status.json"
grep -q '"quiet": {"nothing": 1}' "$folder/status.json"
grep -q '"forecast": {"done": 1}' "$folder/status.json"

began=$(seconds)
airflow dags unpause "$main" >/dev/null 2>&1
airflow dags unpause air.retrain >/dev/null 2>&1
setsid airflow standalone >"$folder/standalone.log" 2>&1 &
standalone=$!
trap 'kill -TERM -- -$standalone 2>/dev/null || true' EXIT
for _ in $(seq 120); do
  runs=$(airflow dags list-runs air.retrain -o json 2>/dev/null || true)
  if grep -q '"run_id": "asset_triggered' <<<"$runs" && grep -q '"state": "success"' <<<"$runs"; then break; fi
  sleep 2
done
echo "$runs"
grep -q '"run_id": "asset_triggered' <<<"$runs"
grep -q '"state": "success"' <<<"$runs"
echo "a downstream run was triggered by an asset and ended $(since "$began") s after standalone was started"
"$sanmaru" pipeline status
test -s trained.txt
echo proven
