"""Teaching: the patient, the careless results and the class."""
