"""Teaching: the patient of the lessons, results made without care, and studies for a class."""
