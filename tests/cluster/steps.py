"""The commands of docs/cluster.md that the cluster test runs."""

SUBMIT = (
    '.venv/bin/ray exec cluster.yaml "ray job submit --no-wait --submission-id NAME -- '
    'python -m tune search --name NAME --storage s3://BUCKET/vae-search"'
)
MAKE_TOKEN = ".venv/bin/ray get-auth-token --generate > /dev/null && chmod 600 ~/.ray/auth_token"
UP = ".venv/bin/ray up -y cluster.yaml"
STATUS = '.venv/bin/ray exec cluster.yaml "ray status"'
EXTEND = (
    '.venv/bin/ray exec cluster.yaml "ray job submit --no-wait --submission-id more -- '
    'python -m tune extend s3://BUCKET/vae-search/NAME --trials 4"'
)
LOGS = '.venv/bin/ray exec cluster.yaml "ray job logs --follow NAME"'
DASHBOARD = ".venv/bin/ray dashboard cluster.yaml"
SEND = ".venv/bin/ray rsync-up cluster.yaml my.yaml '~/vae-search/my.yaml'"
FETCH = ".venv/bin/ray rsync-down cluster.yaml /shared/runs/NAME runs/"
DOWN = ".venv/bin/ray down -y cluster.yaml"
