-- One server, three databases: Prefect and MLflow each migrate their own at start, events and sessions are genworks' own.
CREATE DATABASE prefect OWNER genworks;
CREATE DATABASE mlflow OWNER genworks;
CREATE DATABASE online OWNER genworks;
