DROP TABLE logged_model_tags;
DROP TABLE logged_model_params;
DROP TABLE logged_model_metrics;
DROP TABLE logged_models;
