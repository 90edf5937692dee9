-- One server, two databases: Prefect and MLflow each migrate their own at start.
CREATE DATABASE prefect OWNER genworks;
CREATE DATABASE mlflow OWNER genworks;
