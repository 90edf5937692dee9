"""Networks and parts of networks that several rooms or engines use and no library has."""
